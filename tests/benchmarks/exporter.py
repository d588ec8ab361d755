# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the exporter's questions cost a PostgreSQL: databases of any size, and what a round takes it."""

from __future__ import annotations

import json
import subprocess

import hosts
import yaml

ROLE = hosts.ROOT / "roles/airflow_exporters"
# Seconds.
INTERVAL = 30
# A DAG run has ten task instances, and of 50,000 jobs a tenth are those of components, begun and ended.
RUNS_EACH, JOBS_EACH = 0.1, 0.05
# Those that are not finished, whatever there is beside them.
UNFINISHED = {
    "queued": 200,
    "running": 500,
    "scheduled": 300,
    "deferred": 100,
    "up_for_retry": 100,
    "up_for_reschedule": 100,
}
# What a column takes that wants something.
ANYTHING = {
    "boolean": "false",
    "bytea": "''",
    "character varying": "'x'",
    "integer": "0",
    "timestamp with time zone": "now()",
    "uuid": "gen_random_uuid()",
}


def state(unfinished):
    """SQL for the state of row i, of which so many are unfinished."""
    cases, before = [], 0
    for name, number in unfinished.items():
        before += number
        cases.append("WHEN i <= %d THEN '%s'" % (before, name))
    return "CASE %s WHEN i %% 50 = 0 THEN 'failed' ELSE 'success' END" % " ".join(cases)


def fill(sql, size):
    """Fills the tables of whichever release with so many task instances, and what belongs to them.

    `sql` is a function that returns what statements of a superuser say.
    """
    run = "'run_' || (i %% %d)" % (size * RUNS_EACH)
    when = "now() - i * interval '1 second'"
    rows = {
        "dag_run": (
            size * RUNS_EACH,
            {
                "dag_id": "'dag_' || (i % 500)",
                "run_id": "'run_' || i",
                "state": state({"running": 60, "queued": 20}),
                "execution_date": when,
                "logical_date": when,
            },
        ),
        "task_instance": (
            size,
            {
                "dag_id": "'dag_' || (i % 500)",
                "task_id": "'task_' || i",
                "run_id": run,
                "state": state(UNFINISHED),
                "execution_date": when,
                "queued_dttm": when,
                "pool": "'pool_' || (i % 20)",
                "pool_slots": "1",
                "queue": "'queue_' || (i % 5)",
            },
        ),
        "job": (
            size * JOBS_EACH,
            {
                "job_type": "(ARRAY['SchedulerJob', 'TriggererJob', 'DagProcessorJob'])[1 + i / 10 % 3]".join(
                    ("CASE WHEN i % 10 = 0 THEN ", " ELSE 'LocalTaskJob' END")
                ),
                "state": "CASE WHEN i <= 90 THEN 'running' ELSE 'success' END",
                "hostname": "'host_' || (i % 8)",
                "latest_heartbeat": when,
            },
        ),
        "slot_pool": (20, {"pool": "'pool_' || (i - 1)", "slots": "128"}),
    }
    for table, (number, values) in rows.items():
        columns = sql(
            "SELECT column_name, data_type, is_nullable = 'NO' AND column_default IS NULL "
            "FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '%s'" % table
        )
        wanted = {}
        for column, kind, needed in (line.split("|") for line in columns.splitlines()):
            if column in values:
                wanted[column] = values[column]
            elif needed == "t":
                wanted[column] = ANYTHING[kind]
        sql(
            # What a row refers to need not be there.
            "SET session_replication_role = replica; TRUNCATE %s CASCADE; "
            "INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i"
            % (table, table, ", ".join(wanted), ", ".join(wanted.values()), number)
        )
    sql("VACUUM (ANALYZE)")


def queries(place):
    """Those that the role writes for a master of an inventory."""
    play = {
        "hosts": "m1",
        "gather_facts": False,
        "vars_files": [str(ROLE / path) for path in ("defaults/main.yml", "vars/main.yml")],
        "roles": ["dataops.airflow.airflow"],
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(ROLE / "templates/sql_exporter.yml.j2"),
                    "dest": str(place / "sql_exporter.yml"),
                    "mode": "0600",
                },
                "delegate_to": "localhost",
                "vars": {"ansible_connection": "local"},
            }
        ],
    }
    (place / "exporter.json").write_text(json.dumps([play]))
    hosts.play(place / "exporter.json", place)
    (job,) = yaml.safe_load((place / "sql_exporter.yml").read_text(encoding="utf-8"))["jobs"]
    assert job["interval"] == "%ds" % INTERVAL
    return [query["query"] for query in job["queries"]]


class Database:
    """One with the tables of the cluster's, on its server."""

    def __init__(self, size):
        self.name = "exporter_%d" % size
        hosts.sh(
            "db1",
            f"runuser -u postgres -- sh -c 'dropdb --if-exists {self.name}; createdb {self.name};"
            f" pg_dump --schema-only --no-owner airflow | psql -qX {self.name}' >/dev/null 2>&1",
        )
        fill(self.sql, size)

    def sql(self, statements):
        """What statements of a superuser say."""
        command = ["docker", "exec", "--interactive", "--user", "postgres", hosts.container("db1")]
        done = subprocess.run(
            [*command, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.name],
            input=statements,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise hosts.Failed(done.stderr)
        return done.stdout

    def seconds(self, asked):
        """What a round of queries takes of the server's processor."""
        return seconds(self.sql, asked)


def seconds(sql, queries, times=10):
    """What a round of the queries takes of a processor of the server's.

    Other work on the machine does not count, and nothing is left to processes beside that of the connection.
    """
    spent = "SELECT 'spent', split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)"
    alone = "SET max_parallel_workers_per_gather = 0"
    said = sql(";\n".join([alone, *queries, spent, *queries * times, spent]))
    before, after = (int(line.partition("|")[2]) for line in said.splitlines() if line.startswith("spent|"))
    return (after - before) / 1e9 / times
