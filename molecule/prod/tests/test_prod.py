# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""inventories/prod deploys as it is written: with Airflow 3.3, on MySQL, logs on S3."""

from __future__ import annotations

import json
import subprocess

from article import ARTICLE, FATE
from prod import HOME, SERVERS, differences, logs

MASTERS = FIRST, SECOND = ["airflow-prod-m1", "airflow-prod-m2"]
WORKER, DATABASE = "airflow-prod-w1", "airflow-prod-db"
SITE, VERIFY = "dataops.airflow.site", "dataops.airflow.verify"
BUCKET = "http://172.30.106.14:5000/airflow"


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


def query(statement):
    """What the database answers, line by line."""
    return on(DATABASE, "mysql", "--batch", "--skip-column-names", "airflow", "--execute", statement).splitlines()


def test_addresses_endpoints_and_secrets_alone_are_other_ones():
    assert differences(FIRST) == SERVERS


def test_check_mode_named_the_changes_of_the_first_run(records):
    promised = records.changed("converge-check")
    assert promised and promised == records.changed("converge")


def test_every_component_is_healthy_and_the_worker_runs_a_task(playbook):
    assert playbook(VERIFY).rc == 0


def test_all_components_run():
    for node in MASTERS:
        units = [f"airflow-{name}" for name in ("webserver", "scheduler", "dag-processor", "triggerer")]
        assert on(node, "systemctl", "is-active", *units).split() == ["active"] * len(units)
    assert on(WORKER, "systemctl", "is-active", "airflow-worker") == "active"
    assert {on(node, "airflow", "version").splitlines()[-1] for node in [*MASTERS, WORKER]} == {"3.3.2"}


def test_airflow_reads_each_value_of_the_article():
    names = {key: tuple(fates["3.3"].split(".")) for key, fates in FATE.items() if fates["3.3"]}
    program = "import json; from airflow.configuration import conf; "
    program += "from airflow.providers_manager import ProvidersManager; "
    program += "ProvidersManager().initialize_providers_configuration(); "
    program += f"print(json.dumps([conf.get(*name) for name in {list(names.values())}]))"
    environment = f"AIRFLOW_HOME={HOME} AIRFLOW_CONFIG=$(readlink -f /opt/airflow/current)/airflow.cfg"
    command = f'env {environment} /opt/airflow/current/release/bin/python -W ignore -c "$0"'
    found = json.loads(on(FIRST, "runuser", "-u", "airflow", "--", "sh", "-c", command, program).splitlines()[-1])
    read = dict(zip(names, found))
    # What names the servers is this cluster's own.
    named = {
        name: read.pop(name).split("@")[1].split(":")[0]
        for name in ("sql_alchemy_conn", "result_backend", "broker_url")
    }
    assert named == {"sql_alchemy_conn": "db1", "result_backend": "db1", "broker_url": "broker1"}
    assert read == {key: str(ARTICLE[key]).replace("[AIRFLOW_HOME]", HOME) for key in read}


def test_the_tables_are_on_mysql():
    assert query("SELECT count(*) FROM alembic_version") == ["1"]
    assert query(
        "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'airflow'"
    ) == ["utf8mb4"]


def test_logs_are_on_s3():
    assert [name for name in logs(BUCKET) if name.startswith(f"dag_id=dataops_canary__{WORKER}/")]


def test_second_run_changes_nothing(playbook):
    run = playbook(SITE)
    assert (run.rc, run.changed) == (0, [])
