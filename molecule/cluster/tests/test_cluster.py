# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cluster promises when a part of it goes, or one more comes."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

MASTERS = [f"airflow-cluster-m{number}" for number in (1, 2, 3)]
WORKERS = [f"airflow-cluster-w{number}" for number in (1, 2)]
SPARE = "airflow-cluster-w3"
JOIN = pathlib.Path(__file__).resolve().parents[1] / "join"
AWAY = JOIN.parent / "away"
ABSENT = "airflow-cluster-w9"


UNITS = [
    "airflow-webserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-worker",
]


def on(node, *command):
    """What a command prints on a node."""
    return subprocess.run(
        ["docker", "exec", node, *command], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def started(node, unit):
    """When a unit came up last: another value after a restart."""
    return on(node, "systemctl", "show", "--property", "ActiveEnterTimestampMonotonic", "--value", unit)


@pytest.fixture
def stopped():
    """Stops a whole host, as a power failure does, for the length of a test."""
    nodes = []

    def stop(node):
        nodes.append(node)
        subprocess.run(["docker", "kill", node], check=True, stdout=subprocess.DEVNULL)

    yield stop
    for node in nodes:
        subprocess.run(["docker", "start", node], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["docker", "exec", node, "sh", "-c", "until systemctl is-system-running --wait; do sleep 1; done"],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def test_every_component_is_healthy_and_every_worker_runs_a_task(playbook):
    assert playbook("dataops.airflow.verify").rc == 0


@pytest.mark.parametrize(
    ("tag", "nodes", "unit"),
    [
        ("restart_webserver", MASTERS, "airflow-webserver"),
        ("restart_scheduler", MASTERS, "airflow-scheduler"),
        ("restart_dag_processor", MASTERS, "airflow-dag-processor"),
        ("restart_triggerer", MASTERS, "airflow-triggerer"),
        ("restart_worker", WORKERS, "airflow-worker"),
    ],
)
def test_restart_tag_restarts_its_unit_and_no_other(playbook, tag, nodes, unit):
    others = {(node, other): started(node, other) for node in MASTERS + WORKERS for other in UNITS if other != unit}
    before = {node: started(node, unit) for node in nodes}
    assert playbook("dataops.airflow.site", "--tags", tag).rc == 0
    assert [node for node in nodes if started(node, unit) == before[node]] == []
    assert {key: started(*key) for key in others} == others


def test_restart_that_fails_is_the_last(playbook):
    """A configuration that does not start takes one master, not all of them."""
    drop_in = "/etc/systemd/system/airflow-scheduler.service.d/broken.conf"
    before = {(node, unit): started(node, unit) for node in MASTERS[1:] for unit in UNITS[:4]}
    on(MASTERS[0], "mkdir", "-p", drop_in.rpartition("/")[0])
    on(MASTERS[0], "sh", "-c", f"printf '[Service]\\nExecStartPre=false\\n' >{drop_in} && systemctl daemon-reload")
    options = ["--extra-vars", json.dumps({"airflow_options": {"core": {"parallelism": 9}}})]
    run = playbook(
        "dataops.airflow.site",
        *options,
        "--extra-vars",
        "airflow_service_start_timeout=40 airflow_service_stop_timeout=20",
    )
    assert run.rc != 0
    assert f"the restart on {MASTERS[0]} failed" in run.output
    assert {key: started(*key) for key in before} == before
    on(MASTERS[0], "sh", "-c", f"rm {drop_in} && systemctl daemon-reload")
    assert playbook("dataops.airflow.site").rc == 0
    assert playbook("dataops.airflow.site").changed == []


def test_canary_passes_without_a_master(playbook, stopped):
    stopped(MASTERS[0])
    assert playbook("dataops.airflow.verify", "--limit", f"all:!{MASTERS[0]}").rc == 0


def test_worker_joins_by_inventory_alone(playbook):
    joined = playbook("dataops.airflow.site", inventories=[JOIN])
    assert joined.rc == 0
    assert {line.split(":")[0] for line in joined.changed} == {SPARE}
    assert playbook("dataops.airflow.verify", inventories=[JOIN]).rc == 0


def test_worker_that_cannot_be_reached_stops_nobody_and_fails_the_run(playbook):
    run = playbook("dataops.airflow.site", inventories=[JOIN, AWAY])
    assert run.rc != 0
    assert run.changed == []
    for host, counts in run.hosts.items():
        assert counts["failures"] == 0, host
        assert bool(counts["unreachable"]) == (host == ABSENT), host
