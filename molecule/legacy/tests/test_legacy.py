# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The article's cluster on Airflow 1.10: its configuration, its database, and one scheduler, whatever happens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.parse

import metrics
import pytest
from article import ARTICLE, FATE
from older import Tasks, connections, other_users
from prod import HOME, SERVERS, differences, logs

MASTERS = FIRST, SECOND = ["airflow-legacy-m1", "airflow-legacy-m2"]
WORKER, DATABASE, MONITOR = "airflow-legacy-w1", "airflow-legacy-db", "airflow-legacy-broker"
BUCKET = "http://172.30.97.15:5000/airflow"
SITE, VERIFY = "dataops.airflow.site", "dataops.airflow.verify"
UP = "until systemctl is-system-running --wait; do sleep 0.2; done"


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


def query(statement):
    """What the database answers, line by line."""
    return on(DATABASE, "mysql", "--batch", "--skip-column-names", "airflow", "--execute", statement).splitlines()


def schedulers():
    """The masters on which a scheduler is alive, started by whomever."""
    found = {node: on(node, "pgrep", "-f", "[b]in/airflow scheduler", check=False) for node in MASTERS}
    # Of a node that goes down meanwhile Docker prints its own error there.
    return [node for node, numbers in found.items() if "".join(numbers.split()).isdigit()]


def active(node):
    return on(node, "systemctl", "is-active", "airflow-scheduler", check=False) == "active"


@contextlib.contextmanager
def never_two():
    """Looks at both masters all the time."""
    seen, over = [], threading.Event()

    def look():
        while not over.wait(0.1):
            with contextlib.suppress(subprocess.CalledProcessError):
                seen.append(schedulers())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert seen and [alive for alive in seen if len(alive) > 1] == []


def move(to):
    """Names the master that schedules."""
    return ["--extra-vars", f"airflow_active_scheduler={to}"]


@pytest.fixture(scope="module")
def tasks():
    found = Tasks("1.10.15", FIRST, WORKER, query)
    found.deliver("airflow-scheduler")
    return found


@pytest.fixture
def at_home(playbook):
    """After the test the first master schedules again."""
    yield
    assert playbook(SITE).rc == 0
    assert (active(FIRST), active(SECOND)) == (True, False)


def test_addresses_endpoints_secrets_and_the_version_are_other_ones():
    other = {"airflow_version", "airflow_python_executable"}
    assert differences(FIRST) == SERVERS | other


def test_it_is_the_version_of_the_article():
    assert {on(node, "airflow", "version").splitlines()[-1] for node in [*MASTERS, WORKER]} == {"1.10.15"}


def test_every_component_is_healthy_and_the_worker_runs_a_task(playbook):
    assert playbook(VERIFY).rc == 0


def test_logs_are_on_s3():
    assert [name for name in logs(BUCKET) if name.startswith(f"dataops_canary__{WORKER}/")]


def test_units_have_the_names_of_the_article():
    for node, units in {FIRST: ["webserver", "scheduler"], SECOND: ["webserver"], WORKER: ["worker"]}.items():
        names = [f"airflow-{name}" for name in units]
        assert on(node, "systemctl", "is-active", *names).split() == ["active"] * len(names)
        assert on(node, "systemctl", "is-enabled", *names).split() == ["enabled"] * len(names)


def test_airflow_reads_each_value_of_the_article():
    names = sorted({tuple(fates["1.10"].split(".")) for fates in FATE.values()})
    program = "import json; from airflow.configuration import conf; "
    program += f"print(json.dumps([conf.get(*name) for name in {names}]))"
    environment = f"AIRFLOW_HOME={HOME} AIRFLOW_CONFIG=$(readlink -f /opt/airflow/current)/airflow.cfg"
    command = f'env {environment} /opt/airflow/current/release/bin/python -c "$0"'
    found = json.loads(on(FIRST, "runuser", "-u", "airflow", "--", "sh", "-c", command, program).splitlines()[-1])
    read = dict(zip([name for _section, name in names], found))
    wanted = {FATE[key]["1.10"].split(".")[1]: str(value) for key, value in ARTICLE.items()}
    wanted.update(dags_folder=f"{HOME}/dags", plugins_folder=f"{HOME}/plugins")
    # What names the servers is this cluster's own.
    servers = ("sql_alchemy_conn", "result_backend", "broker_url")
    assert all(read.pop(name).split("@")[1].split(":")[0] in ("db1", "broker1") for name in servers)
    assert {name: value for name, value in wanted.items() if name not in servers} == read


def test_the_database_was_initialised_and_never_is_again(playbook):
    assert int(query("SELECT count(*) FROM connection")[0]) > 10
    assert query("SELECT version_num FROM alembic_version") == ["03afc6b6f902"]
    query("DELETE FROM connection WHERE conn_id = 'wasb_default'")
    query("INSERT INTO dag (dag_id, is_active, is_paused) VALUES ('seen_elsewhere', 1, 1)")
    run = playbook(SITE)
    assert (run.rc, run.changed) == (0, [])
    assert query("SELECT count(*) FROM connection WHERE conn_id = 'wasb_default'") == ["0"]
    assert query("SELECT is_active FROM dag WHERE dag_id = 'seen_elsewhere'") == ["1"]
    query("DELETE FROM dag WHERE dag_id = 'seen_elsewhere'")


def test_the_key_of_the_sessions_is_in_no_file_that_others_read(secrets):
    key = secrets["api_secret_key"]
    folder = on(FIRST, "readlink", "-f", "/opt/airflow/current")
    assert on(FIRST, "stat", "-c", "%a %U", f"{folder}/secrets/environment") == "600 root"
    pid = on(FIRST, "systemctl", "show", "--property", "MainPID", "--value", "airflow-webserver")
    assert key in on(FIRST, "cat", f"/proc/{pid}/environ")
    found = on(FIRST, "grep", "-rlF", key, "/opt/airflow", "/etc/systemd", "/users", "/var/log", check=False).split()
    assert f"{folder}/secrets/environment" in found
    # Those of earlier deployments.
    assert [path for path in found if not path.endswith("/secrets/environment")] == []


def test_components_have_the_connections_of_the_table(tasks):
    times = {"webserver.workers": 4, "scheduler.parsing_processes": 2, "celery.worker_concurrency": 16}
    connections(tasks, [*MASTERS, WORKER], "172.30.97.11", times)


def test_tasks_run_as_another_user(tasks, playbook):
    other_users(tasks, playbook, SITE)


def test_a_standby_cannot_be_started_by_hand():
    assert (active(FIRST), active(SECOND)) == (True, False)
    refused = subprocess.run(
        ["docker", "exec", SECOND, "systemctl", "start", "airflow-scheduler"],
        check=False,
        text=True,
        stderr=subprocess.PIPE,
    )
    assert refused.returncode != 0 and "masked" in refused.stderr
    assert schedulers() == [FIRST]


def test_both_masters_reboot():
    with never_two():
        for node in MASTERS:
            subprocess.run(["docker", "restart", node], check=True, stdout=subprocess.DEVNULL)
        for node in MASTERS:
            on(node, "sh", "-c", UP, check=False)
        deadline = time.monotonic() + 120
        while not active(FIRST) and time.monotonic() < deadline:
            time.sleep(1)
    assert (active(FIRST), active(SECOND)) == (True, False)


def test_the_scheduler_moves(playbook, at_home):
    with never_two():
        check = playbook(SITE, *move(SECOND), "--check")
        assert (check.rc, schedulers()) == (0, [FIRST])
        run = playbook(SITE, *move(SECOND))
    assert (run.rc, run.changed) == (0, check.changed)
    assert (active(FIRST), active(SECOND)) == (False, True)
    again = playbook(SITE, *move(SECOND))
    assert (again.rc, again.changed) == (0, [])


def test_a_move_that_is_killed_midway(playbook, records, at_home):
    names = [entry["task"] for entry in records.of("converge")[-1]["started"]]
    starting = [number for number, name in enumerate(names) if name.endswith("start what does not run")]
    # Before the masters' units are touched, and right before the scheduler starts in its new place.
    for number in (starting[0] - 3, starting[0]):
        with never_two():
            assert playbook(SITE, *move(SECOND), kill_at=number).rc == -9
            for node in MASTERS:
                subprocess.run(["docker", "restart", node], check=True, stdout=subprocess.DEVNULL)
            for node in MASTERS:
                on(node, "sh", "-c", UP, check=False)
    with never_two():
        assert playbook(SITE, *move(SECOND)).rc == 0
    assert (active(FIRST), active(SECOND)) == (False, True)


def test_nothing_starts_while_the_old_host_cannot_be_asked(playbook, at_home):
    subprocess.run(["docker", "pause", FIRST], check=True, stdout=subprocess.DEVNULL)
    try:
        run = playbook(SITE, *move(SECOND), "--limit", f"all:!{FIRST}")
        assert run.rc != 0 and not active(SECOND)
    finally:
        subprocess.run(["docker", "unpause", FIRST], check=True, stdout=subprocess.DEVNULL)


def figures(query):
    """What Prometheus answers, as pairs of labels and value."""
    url = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": query})
    program = f"import urllib.request; print(urllib.request.urlopen({url!r}).read().decode())"
    answer = json.loads(on(MONITOR, "python3", "-c", program))["data"]["result"]
    return [(found["metric"], float(found["value"][1])) for found in answer]


def test_the_same_is_told_as_of_later_versions():
    # Of unfinished tasks there are none.
    wanted = {name for name in metrics.names() if name.startswith("airflow_")} - {"airflow_task_instances"}
    deadline = time.monotonic() + 180
    while wanted - {labels["__name__"] for labels, _value in figures('{__name__=~"airflow_.*"}')}:
        assert time.monotonic() < deadline, wanted - {
            labels["__name__"] for labels, _value in figures('{__name__=~"airflow_.*"}')
        }
        time.sleep(5)

    def one(name):
        ((_labels, value),) = figures(name)
        return value

    assert one("airflow_num_queued_tasks") == one("airflow_num_running_tasks") == one("airflow_import_errors") == 0
    assert one('airflow_pool_slots{pool="default_pool"}') == one('airflow_pool_open_slots{pool="default_pool"}') == 128
    assert [labels["component"] for labels, _age in figures("airflow_heartbeat_age_seconds < 60")] == ["scheduler"]
    assert {labels["worker"] for labels, _slots in figures("airflow_worker_slots")} == {WORKER}
    assert {workers for _labels, workers in figures('airflow_queue_workers{queue="default"}')} == {1}
    running = {(labels["instance"], labels["component"]) for labels, _one in figures("airflow_deployment_info")}
    assert {(WORKER, "worker"), (FIRST, "webserver"), (SECOND, "webserver")} <= running
    assert one("airflow_database_connections") > 0
    assert one("airflow_database_connections_limit") == float(query("SELECT @@max_connections")[0])
    assert [labels["instance"] for labels, up in figures("up") if not up] == []
    assert {labels["alertname"] for labels, _one in figures('ALERTS{alertstate="firing"}')} == {"AirflowDeadMansSwitch"}
