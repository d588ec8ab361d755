# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host with Grafana gets. Grafana is not part of Debian: of it there is what its package would leave."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
from dashboards import DASHBOARDS
from prometheus import wait

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAME = "airflow-dashboards-test"
PROVIDER = "/etc/grafana/provisioning/dashboards/airflow.yml"
SOURCE = "/etc/grafana/provisioning/datasources/airflow.yml"

PACKAGE = """
groupadd grafana
install -d -g grafana -m 0750 /etc/grafana/provisioning/dashboards /etc/grafana/provisioning/datasources
printf '[Service]\\nType=exec\\nExecStart=/bin/sleep infinity\\n' >/etc/systemd/system/grafana-server.service
systemctl daemon-reload
systemctl start grafana-server
"""


def run(script):
    """What a shell on the host prints."""
    done = subprocess.run(["docker", "exec", NAME, "sh", "-euc", script], check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def process():
    return run("systemctl show --property=MainPID --value grafana-server")


@pytest.fixture(scope="module", autouse=True)
def host():
    """A host with systemd, and nothing else."""
    remove = ["docker", "rm", "--force", "--volumes", NAME]
    subprocess.run(remove, check=False, capture_output=True)
    command = ["docker", "run", "--detach", "--name", NAME, "--network=none", "--cgroupns=host", "--cap-add=SYS_ADMIN"]
    command += [
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--tmpfs=/run",
        "--tmpfs=/tmp",
    ]
    command += ["--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "dataops-airflow-base:bookworm", "/sbin/init"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    try:
        wait(
            lambda: run("systemctl is-system-running --wait || true") in ("running", "degraded"),
            "systemd does not start",
        )
        yield
    finally:
        subprocess.run(remove, check=False, capture_output=True)


@pytest.fixture(scope="module")
def role(tmp_path_factory):
    """Runs the role: the names of the tasks that changed something, and what those that failed said."""
    place = tmp_path_factory.mktemp("play")
    (place / "hosts").write_text(
        f"[grafana]\n{NAME} ansible_connection=community.docker.docker\n[monitor]\nwatch airflow_address=192.0.2.7\n",
        encoding="utf-8",
    )
    play = {"hosts": "grafana", "gather_facts": False, "roles": ["dataops.airflow.airflow_dashboards"]}
    (place / "play.yml").write_text(json.dumps([play]), encoding="utf-8")

    def run_role(*arguments):
        done = subprocess.run(
            ["ansible-playbook", "-i", "hosts", "play.yml", *arguments],
            cwd=place,
            env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
            check=False,
            text=True,
            stdout=subprocess.PIPE,
        )
        changed, failed = [], []
        for task in json.loads(done.stdout)["plays"][0]["tasks"]:
            result = task["hosts"].get(NAME, {})
            if result.get("changed"):
                changed.append(task["task"]["name"].rpartition(" : ")[2])
            if result.get("failed"):
                failed.append(result["msg"])
        return changed, failed

    return run_role


EVERYTHING = [
    "Create the directory of the dashboards",
    "Install the dashboards",
    "Tell Grafana where they are",
    "Tell Grafana where Prometheus is",
    "Restart Grafana",
]


def test_host_without_grafana_is_refused(role):
    changed, failed = role()
    assert changed == []
    assert "no group grafana: install Grafana's package first" in failed[0]


def test_check_mode_tells_what_the_run_does_and_a_second_run_changes_nothing(role):
    run(PACKAGE)
    before = process()
    assert role("--check", "--diff") == (EVERYTHING, [])
    assert run("find /etc/grafana -type f") == ""
    assert role() == (EVERYTHING, [])
    after = process()
    assert before != after
    assert role() == ([], [])
    assert process() == after


def test_files_are_for_grafana_and_no_other(role):
    files = run("find /etc/grafana -type f -printf '%u:%g %m %p\\n' | sort").splitlines()
    paths = sorted([*(f"/etc/grafana/airflow/{name}.json" for name in DASHBOARDS), PROVIDER, SOURCE])
    assert files == [f"root:grafana 640 {path}" for path in paths]
    assert 'url: "http://192.0.2.7:9090"' in run(f"cat {SOURCE}")


def test_changed_dashboard_needs_no_restart(role):
    run("echo >>/etc/grafana/airflow/airflow-hosts.json")
    assert role() == (["Install the dashboards"], [])


def test_restart_that_a_killed_run_owes_is_made_up_for(role):
    run(f"touch {SOURCE}")
    assert role("--check") == (["Restart Grafana"], [])
    assert role() == (["Restart Grafana"], [])
    assert role() == ([], [])


def test_grafana_that_is_stopped_stays_so(role):
    run("systemctl stop grafana-server")
    assert role("-e", "airflow_dashboards_prometheus_url=http://192.0.2.8:9090") == (EVERYTHING[3:4], [])
    assert process() == "0"


def test_without_a_url_the_data_source_is_left_alone(role):
    run(f"systemctl start grafana-server; rm {SOURCE}")
    assert role("-e", "airflow_dashboards_prometheus_url=") == ([], [])
