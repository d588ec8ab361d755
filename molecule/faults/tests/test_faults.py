# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What befalls a cluster that works, and that it comes back from it: unaided, or by the next run."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import time

import pytest

MASTERS = ["airflow-faults-m1", "airflow-faults-m2"]
WORKER, DATABASE, BROKER = "airflow-faults-w1", "airflow-faults-db", "airflow-faults-broker"
SITE, VERIFY = "dataops.airflow.site", "dataops.airflow.verify"
MASTER_UNITS = ["airflow-webserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-proxy"]
UNITS = (
    [(node, unit) for node in MASTERS for unit in MASTER_UNITS]
    + [(WORKER, unit) for unit in ("airflow-worker", "airflow-proxy")]
    + [(BROKER, "airflow-redis"), (DATABASE, "postgresql@15-main")]
)
UP = "until systemctl is-system-running --wait; do sleep 0.2; done"
# How long what others need is away.
GONE = 60


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


def docker(verb, *nodes):
    subprocess.run(["docker", verb, *nodes], check=True, stdout=subprocess.DEVNULL)


def up(node):
    subprocess.run(
        ["docker", "exec", node, "sh", "-c", UP],
        check=True,
        timeout=180,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def pid(node, unit):
    return int(on(node, "systemctl", "show", "--property", "MainPID", "--value", unit))


def options(number):
    return ["--extra-vars", json.dumps({"airflow_options": {"core": {"parallelism": number}}})]


@pytest.fixture
def whole(playbook):
    """Proves that a run converges, that the one after it has nothing to do, and that all is as declared."""

    def prove(*arguments):
        assert playbook(SITE, *arguments).rc == 0
        again = playbook(SITE, *arguments)
        assert (again.rc, again.changed) == (0, [])
        assert playbook(VERIFY, *arguments).rc == 0

    return prove


def test_every_process_that_is_killed_comes_back(playbook):
    before = {}
    for node, unit in UNITS:
        before[node, unit] = pid(node, unit)
        on(node, "kill", "-9", str(before[node, unit]))
    run = playbook(VERIFY)
    assert [key for key in UNITS if pid(*key) in (0, before[key])] == []
    assert run.rc == 0


@pytest.mark.parametrize(("node", "unit"), [(BROKER, "airflow-redis"), (DATABASE, "postgresql")])
def test_cluster_recovers_from_what_was_away(playbook, node, unit):
    on(node, "systemctl", "stop", unit)
    time.sleep(GONE)
    on(node, "systemctl", "start", unit)
    assert playbook(VERIFY).rc == 0


def test_a_worker_takes_no_task_while_no_api_server_answers(playbook):
    journal = ["journalctl", "--unit", "airflow-worker", "--since", f"@{time.time():.0f}", "--output", "cat"]
    for master in MASTERS:
        on(master, "systemctl", "stop", "airflow-webserver")
    on(WORKER, "systemctl", "restart", "--no-block", "airflow-worker")
    time.sleep(GONE)
    state = on(WORKER, "systemctl", "show", "--property", "SubState", "--value", "airflow-worker")
    said = on(WORKER, *journal)
    assert state == "start-pre" and "no API server answers at http://127.0.0.1:8089/execution/health yet: " in said
    # One of them is enough.
    on(MASTERS[1], "systemctl", "start", "airflow-webserver")
    deadline = time.monotonic() + 180
    while " ready" not in on(WORKER, *journal):
        assert time.monotonic() < deadline
        time.sleep(1)
    on(MASTERS[0], "systemctl", "start", "airflow-webserver")
    assert playbook(VERIFY).rc == 0


def test_all_hosts_go_down_and_the_database_comes_last(playbook):
    nodes = [*MASTERS, WORKER, BROKER, DATABASE]
    docker("kill", *nodes)
    docker("start", *[node for node in nodes if node != DATABASE])
    time.sleep(GONE)
    docker("start", DATABASE)
    assert playbook(VERIFY).rc == 0
    for node in nodes:
        up(node)
    run = playbook(SITE)
    assert (run.rc, run.changed) == (0, [])


def test_host_goes_down_while_it_is_restarted(playbook, whole):
    node, arguments = MASTERS[0], options(41)
    before = pid(node, "airflow-scheduler")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(playbook, SITE, *arguments)
        while pid(node, "airflow-scheduler") == before:
            assert not run.done(), "the run ended without a restart"
            time.sleep(0.2)
        docker("kill", node)
        docker("start", node)
        up(node)
        run.result()
    whole(*arguments)


@pytest.mark.parametrize("changes", [(42, 42), (43, 44)], ids=["the same change", "different changes"])
def test_two_controllers_at_once(playbook, whole, changes):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda number: playbook(SITE, *options(number)), changes))
    if len(set(changes)) == 1:
        assert 0 in [run.rc for run in runs]
    whole(*options(changes[0]))
