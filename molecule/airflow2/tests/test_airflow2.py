# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The article's cluster on the last Airflow 2: every master schedules, and MySQL keeps what there is to know."""

from __future__ import annotations

import subprocess
import time

import pytest
from older import Tasks, connections, other_users
from prod import SERVERS, differences, logs

MASTERS = FIRST, SECOND = ["airflow-airflow2-m1", "airflow-airflow2-m2"]
WORKER, DATABASE = "airflow-airflow2-w1", "airflow-airflow2-db"
BUCKET = "http://172.30.102.14:5000/airflow"
SITE, VERIFY = "dataops.airflow.site", "dataops.airflow.verify"


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


def query(statement):
    """What the database answers, line by line."""
    return on(DATABASE, "mysql", "--batch", "--skip-column-names", "airflow", "--execute", statement).splitlines()


def test_addresses_endpoints_secrets_and_the_version_are_other_ones():
    other = {"airflow_version", "airflow_installer", "airflow_options"}
    assert differences(FIRST) == SERVERS | other


def test_every_component_is_healthy_and_the_worker_runs_a_task(playbook):
    assert playbook(VERIFY).rc == 0


def test_logs_are_on_s3():
    assert [name for name in logs(BUCKET) if name.startswith(f"dag_id=dataops_canary__{WORKER}/")]


def test_it_is_installed_by_pip():
    assert on(FIRST, "cat", "/opt/airflow/current/release/.complete.json").count('"installer": "pip"') == 1
    assert on(FIRST, "test", "-e", "/opt/airflow/uv", check=False) == ""
    assert on(FIRST, "airflow", "version").splitlines()[-1] == "2.11.2"


def test_all_components_run():
    for node in MASTERS:
        units = [f"airflow-{name}" for name in ("webserver", "scheduler", "dag-processor", "triggerer")]
        assert on(node, "systemctl", "is-active", *units).split() == ["active"] * len(units)
    assert on(WORKER, "systemctl", "is-active", "airflow-worker") == "active"


def schedulers():
    """The hosts whose schedulers have sent a heartbeat within half a minute."""
    return query(
        "SELECT DISTINCT hostname FROM job WHERE job_type = 'SchedulerJob' AND state = 'running' "
        "AND latest_heartbeat > UTC_TIMESTAMP() - INTERVAL 30 SECOND ORDER BY 1"
    )


def test_every_master_schedules_and_one_goes_on_alone(playbook):
    assert schedulers() == ["m1", "m2"]
    subprocess.run(["docker", "stop", FIRST], check=True, stdout=subprocess.DEVNULL)
    try:
        assert playbook(VERIFY, "--limit", f"all:!{FIRST}").rc == 0
        assert schedulers() == ["m2"]
    finally:
        subprocess.run(["docker", "start", FIRST], check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while schedulers() != ["m1", "m2"] and time.monotonic() < deadline:
        time.sleep(2)
    assert schedulers() == ["m1", "m2"]


def test_migrations_are_at_the_release_s_head():
    assert query("SELECT version_num FROM alembic_version") == ["5f2621c13b39"]


@pytest.fixture(scope="module")
def tasks():
    found = Tasks("2.11.2", FIRST, WORKER, query)
    found.deliver("airflow-dag-processor")
    return found


def test_components_have_the_connections_of_the_table(tasks):
    times = {"webserver.workers": 4, "scheduler.parsing_processes": 2, "celery.worker_concurrency": 16}
    connections(tasks, [*MASTERS, WORKER], "172.30.102.11", times)


def test_tasks_run_as_another_user(tasks, playbook):
    other_users(tasks, playbook, SITE)
