# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same names and values of the same facts, on each release and on each kind of server."""

from __future__ import annotations

import copy
import pathlib
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus import free_port, get, tree, wait
from servers import PASSWORD

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOUR = 3600
TASKS = [
    {"state": "queued", "pool": "default_pool", "queue": "default", "queued_ago": 300, "pool_slots": 1},
    {"state": "queued", "pool": "warehouse", "queue": "reports", "queued_ago": 1200, "pool_slots": 3},
    {"state": "queued", "pool": "unlimited", "queue": "default", "queued_ago": 5, "pool_slots": 1},
    {"state": "running", "pool": "default_pool", "queue": "default", "queued_ago": HOUR, "pool_slots": 1},
    {"state": "running", "pool": "default_pool", "queue": "default", "queued_ago": HOUR, "pool_slots": 1},
    {"state": "running", "pool": "warehouse", "queue": "reports", "queued_ago": HOUR, "pool_slots": 2},
    {"state": "running", "pool": "unlimited", "queue": "default", "queued_ago": HOUR, "pool_slots": 2},
    {"state": "scheduled", "pool": "warehouse", "queue": "reports", "pool_slots": 1},
    {"state": "scheduled", "pool": "warehouse", "queue": "reports", "pool_slots": 3},
    {"state": "up_for_retry", "pool": "default_pool", "queue": "default", "pool_slots": 1},
    {"state": "up_for_reschedule", "pool": "default_pool", "queue": 'odd "queue"\\n', "pool_slots": 1},
    {"state": "deferred", "pool": "default_pool", "queue": "default", "pool_slots": 1},
    # No more.
    {"state": "success", "pool": "default_pool", "queue": "default", "pool_slots": 1},
    {"state": "failed", "pool": "warehouse", "queue": "default", "pool_slots": 1},
    {"state": "skipped", "pool": "warehouse", "queue": "default", "pool_slots": 1},
    {"state": None, "pool": "warehouse", "queue": "default", "pool_slots": 1},
]
FACTS = {
    "pools": {"default_pool": 128, "warehouse": 8, "unlimited": -1, "idle": 4},
    "include_deferred": [],
    "tasks": TASKS,
    "runs": {"queued": 1, "running": 2, "success": 7, "failed": 3},
    "jobs": [
        {"job_type": "SchedulerJob", "hostname": "m1", "state": "running", "heartbeat_ago": 4},
        {"job_type": "SchedulerJob", "hostname": "m1", "state": "failed", "heartbeat_ago": 2 * HOUR},
        {"job_type": "SchedulerJob", "hostname": "m2", "state": "running", "heartbeat_ago": HOUR},
        # Ended well, and a host that has been gone for long.
        {"job_type": "SchedulerJob", "hostname": "m3", "state": "success", "heartbeat_ago": 60},
        {"job_type": "SchedulerJob", "hostname": "m4", "state": "running", "heartbeat_ago": 30 * HOUR},
        {"job_type": "LocalTaskJob", "hostname": "w1", "state": "running", "heartbeat_ago": 1},
    ],
    "import_errors": 2,
}
NOTHING = {
    "pools": {"default_pool": 128},
    "include_deferred": [],
    "tasks": [],
    "runs": {},
    "jobs": [],
    "import_errors": 0,
}


def told(name, value, **labels):
    return (name, frozenset(labels.items())), value


EXPECTED = dict(
    [
        told("airflow_num_queued_tasks", 3),
        told("airflow_num_running_tasks", 4),
        told("airflow_task_instances", 1, pool="default_pool", queue="default", state="queued"),
        told("airflow_task_instances", 1, pool="warehouse", queue="reports", state="queued"),
        told("airflow_task_instances", 1, pool="unlimited", queue="default", state="queued"),
        told("airflow_task_instances", 2, pool="default_pool", queue="default", state="running"),
        told("airflow_task_instances", 1, pool="warehouse", queue="reports", state="running"),
        told("airflow_task_instances", 1, pool="unlimited", queue="default", state="running"),
        told("airflow_task_instances", 2, pool="warehouse", queue="reports", state="scheduled"),
        told("airflow_task_instances", 1, pool="default_pool", queue="default", state="up_for_retry"),
        told("airflow_task_instances", 1, pool="default_pool", queue='odd "queue"\\n', state="up_for_reschedule"),
        told("airflow_task_instances", 1, pool="default_pool", queue="default", state="deferred"),
        told("airflow_dag_runs", 1, state="queued"),
        told("airflow_dag_runs", 2, state="running"),
        told("airflow_dag_runs", 7, state="success"),
        told("airflow_dag_runs", 3, state="failed"),
        told("airflow_pool_slots", 128, pool="default_pool"),
        told("airflow_pool_slots", 8, pool="warehouse"),
        told("airflow_pool_slots", -1, pool="unlimited"),
        told("airflow_pool_slots", 4, pool="idle"),
        told("airflow_pool_open_slots", 125, pool="default_pool"),
        told("airflow_pool_open_slots", 3, pool="warehouse"),
        told("airflow_pool_open_slots", -1, pool="unlimited"),
        told("airflow_pool_open_slots", 4, pool="idle"),
        told("airflow_pool_waiting_tasks", 0, pool="default_pool"),
        told("airflow_pool_waiting_tasks", 2, pool="warehouse"),
        told("airflow_pool_waiting_tasks", 0, pool="unlimited"),
        told("airflow_pool_waiting_tasks", 0, pool="idle"),
        told("airflow_import_errors", 2),
    ]
)
# How old each was when it was put in.
AGES = dict(
    [
        told("airflow_oldest_queued_task_age_seconds", 1200),
        told("airflow_heartbeat_age_seconds", 4, component="scheduler"),
        told("airflow_host_heartbeat_age_seconds", 4, component="scheduler", hostname="m1"),
        told("airflow_host_heartbeat_age_seconds", HOUR, component="scheduler", hostname="m2"),
    ]
)
SERVER = {
    (name, frozenset())
    for name in (
        "airflow_database_connections",
        "airflow_database_connections_limit",
        "airflow_database_time_seconds",
    )
}


def test_the_same_facts_give_the_same_figures(database):
    said = database.put(FACTS)
    database.later()
    found = database.samples()
    assert set(found) == set(EXPECTED) | set(AGES) | SERVER
    assert {key: value for key, value in found.items() if key in EXPECTED} == EXPECTED
    clock = found["airflow_database_time_seconds", frozenset()]
    assert abs(clock - time.time()) < 10
    for key, age in AGES.items():
        # All queries of a round are asked within moments.
        assert age + clock - said["at"] == pytest.approx(found[key], abs=1.5), key
    assert found["airflow_database_connections_limit", frozenset()] == database.server.limit
    # What the release says of the same pools.
    assert said["open_slots"] == {
        dict(labels)["pool"]: value for (name, labels), value in found.items() if name == "airflow_pool_open_slots"
    }


def test_every_unfinished_state_is_told(database):
    """Of those that the release has."""
    states = database.put(NOTHING)["unfinished"]
    tasks = [{"state": state, "pool": "default_pool", "queue": "default", "pool_slots": 1} for state in states]
    database.put(dict(NOTHING, tasks=tasks, runs={"running": 1}))
    database.later()
    found = [dict(labels) for (name, labels), value in database.samples().items() if name == "airflow_task_instances"]
    assert sorted(labels["state"] for labels in found) == states


def test_what_is_gone_is_not_told_any_more(database):
    database.put(FACTS)
    database.later()
    database.put(NOTHING)
    database.later()
    found = {key: value for key, value in database.samples().items() if key not in SERVER}
    zero = ("airflow_num_queued_tasks", "airflow_num_running_tasks", "airflow_oldest_queued_task_age_seconds")
    left = [told(name, 0) for name in (*zero, "airflow_import_errors")]
    for name, value in (("slots", 128), ("open_slots", 128), ("waiting_tasks", 0)):
        left.append(told("airflow_pool_" + name, value, pool="default_pool"))
    assert found == dict(left)


def test_deferred_tasks_take_slots_where_the_pool_says_so(database):
    facts = copy.deepcopy(FACTS)
    facts["include_deferred"] = ["default_pool"]
    said = database.put(facts)["open_slots"]
    assert said["default_pool"] == (125 if database.version.startswith("1.") else 124)
    database.later()
    assert database.value("airflow_pool_open_slots", pool="default_pool") == said["default_pool"]


def test_connections_are_those_of_the_server(database, exported):
    exporters = [one for one in exported.values() if one.server is database.server]

    def told_are(number):
        wait(lambda: database.value("airflow_database_connections") == number, f"not {number} connections are told")

    told_are(len(exporters))
    clients = [database.server.asks(database.user, database.schema) for _time in range(3)]
    try:
        told_are(len(exporters) + 3)
    finally:
        for client in clients:
            client.communicate("")


# --- the user


FORBIDDEN = [
    "SELECT * FROM connection",
    "SELECT * FROM variable",
    "SELECT * FROM dag",
    "DELETE FROM task_instance",
    "UPDATE job SET state = 'failed'",
    "INSERT INTO import_error (filename) VALUES ('x')",
    "CREATE TABLE mine (id int)",
    "DROP TABLE slot_pool",
]


def test_the_user_may_do_nothing_else(database):
    code, said = database.asks("SELECT count(*) >= 0 FROM dag_run;")
    assert code == 0, said
    for statement in FORBIDDEN:
        code, said = database.asks(statement)
        assert code != 0 and re.search("denied|must be owner", said), (statement, said)


def test_connections_stay_within_the_limit(database):
    """One is what the exporter takes, of those that the user is allowed."""
    seen = set()
    for _time in range(20):
        seen.add(database.server.connections(database.user))
        time.sleep(0.2)
    assert max(seen) == 1
    others = [database.server.asks(database.user, database.schema) for _time in range(6)]
    try:
        wait(
            lambda: [one for one in others if one.poll() is not None],
            "seven connections are let in",
        )
        assert database.server.connections(database.user) <= 5
    finally:
        said = [one.communicate("")[0] for one in others]
    assert re.search("too many connections|max_user_connections", "".join(said)), said
    database.later()


def documented(kind):
    """The statements of the page for a kind of server."""
    text = (ROOT / "docs/MONITORING.md").read_text(encoding="utf-8")
    head = {"postgresql": "-- PostgreSQL", "mysql": "-- MySQL"}[kind]
    (found,) = re.findall(f"```sql\n({head}.*?)```", text, re.S)
    return found


def test_the_documented_statements_give_the_same_rights(database):
    """On PostgreSQL the rights on the tables are given by the role, as the page says."""
    kind, user = database.server.kind, database.user + "_by_hand"
    statements = documented(kind).replace("airflow_monitor", user).replace("airflow.", database.schema + ".")
    database.sql(statements.replace("...", "s"))
    given, by_hand = (database.server.rights(name, database.schema) for name in (database.user, user))
    by_hand = [line.replace(user, database.user) for line in by_hand]
    assert by_hand == (given[:1] if kind == "postgresql" else given)
    tables = sorted(set(re.findall("dag_run|import_error|job|slot_pool|task_instance", documented("mysql"))))
    if kind == "postgresql":
        assert given[1:] == [f"{table}|SELECT" for table in tables]


def test_airflow_s_own_account_lets_it_change_tables(database):
    process = database.server.asks(database.user.replace("monitor", "owner"), database.schema)
    said = process.communicate("CREATE TABLE of_the_owner (id int); DROP TABLE of_the_owner;")[0]
    assert process.returncode == 0, said


def scraped(port):
    try:
        return get(f"http://127.0.0.1:{port}/metrics")
    except OSError:
        return ""


@pytest.mark.parametrize("name", ["1.10-mariadb", "3.3-mysql"])
def test_the_distribution_s_exporter_of_mysql_gets_in(name, made, written):
    """It reads the password from a file in which much of it would mean something else."""
    port = free_port()
    argv = [f"--config.my-cnf={written}/{name}.cnf", f"--web.listen-address=127.0.0.1:{port}"]
    shown = (ROOT / "roles/airflow_dashboards/files/airflow-hosts.json").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\bmysql_\w+", shown))
    exporter = subprocess.Popen([tree("prometheus-mysqld-exporter") / "prometheus-mysqld-exporter", *argv])
    try:
        said = wait(lambda: scraped(port), "the exporter does not start")
    finally:
        exporter.terminate()
        exporter.wait(30)
    assert "mysql_up 1" in said.splitlines()
    assert wanted <= set(re.findall(r"^\w+", said, re.M))


# --- when things go wrong


def test_a_locked_table_is_not_waited_for(database):
    """The database gives up on a query that waits, as it does during a migration, and the others are answered."""
    database.put(FACTS)
    database.later()
    said = len(database.log.read_text())
    with ThreadPoolExecutor() as pool:
        holder = pool.submit(database.sql, database.server.lock("task_instance"))
        time.sleep(1)
        database.sql("INSERT INTO import_error (filename) VALUES ('more')")
        wait(lambda: database.value("airflow_import_errors") == 3, "others wait as well")
        assert not holder.done()
        holder.result()
    assert "Failed to run query" in database.log.read_text()[said:]
    database.later()


def test_a_database_that_comes_back_is_asked_again(database):
    """Meanwhile the old figures are told, and one of them tells how old."""
    database.put(FACTS)
    database.later()
    server = database.server
    server.stop()
    try:
        stopped = database.value("airflow_database_time_seconds")
        time.sleep(5)
        during = database.samples()
        assert during["airflow_database_time_seconds", frozenset()] <= stopped + 2
        assert during["airflow_num_queued_tasks", frozenset()] == 3
    finally:
        server.start()
    database.put(NOTHING)
    database.later()
    assert database.value("airflow_num_queued_tasks") == 0


def test_no_password_is_in_the_log(database):
    text = database.log.read_text() + get(f"http://127.0.0.1:{database.port}/metrics")
    assert [part for part in (PASSWORD, PASSWORD[:9], "p%40s") if part in text] == []
