# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units are as tight as docs/HARDENING.md says, and tasks still run in them. The tests build on each other."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest

MASTER = "airflow-hardening-m1"
WORKERS = {"baseline": "airflow-hardening-w1", "strict": "airflow-hardening-w2"}
SCENARIO = pathlib.Path(__file__).resolve().parents[1]
PAGE = SCENARIO.parents[1] / "docs" / "HARDENING.md"
OTHERS = SCENARIO / "impersonation"
SUDOERS = "/etc/sudoers.d/airflow-impersonation"
PROMISED = 3.0


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def inside(node, command):
    """The result of a command on a node, whatever it is."""
    return subprocess.run(
        ["docker", "exec", node, "sh", "-c", command],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def figures(node):
    """What systemd says of our units and of those they stand on, by name."""
    lines = docker("exec", node, "systemd-analyze", "security", "--no-pager").splitlines()
    found = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    return {name.removesuffix(".service"): figure for name, figure in found.items()}


def page_rows(heading):
    """The rows of the table below a heading of the page, by their first cell."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"
    ]
    return {row[0]: row[1:] for row in rows[2:]}


def of_unit(unit):
    """The figure that the page has for a unit with its own preset."""
    return float(page_rows("Figures by unit")[unit][1])


def of_preset(preset, column=0):
    """The figure that the page has for a preset: as it is, of what runs tasks, and of what runs them as other users."""
    return float(page_rows("Figures by preset")[preset][column])


TASKS, OTHER_USERS = 1, 2


class Api:
    """Airflow's API on the master."""

    def __init__(self):
        folder = pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets"
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.url = f"http://{docker('inspect', '--format', template, MASTER)}:8080"
        password = (folder / "admin_password").read_text().strip()
        self.token = None
        self.token = self.call("POST", "/auth/token", username="admin", password=password)["access_token"]

    def call(self, method, path, **content):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        data = json.dumps(content).encode() if method != "GET" else None
        with urllib.request.urlopen(request, data=data, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def trigger(self, dag):
        """Starts a run of a DAG, and returns its path."""
        wait_for(f"the DAG {dag}", lambda: self.call("GET", f"/api/v2/dags/{dag}"))
        run = self.call("POST", f"/api/v2/dags/{dag}/dagRuns", logical_date=None)["dag_run_id"]
        return f"/api/v2/dags/{dag}/dagRuns/{run}"

    def results(self, dag):
        """Runs a DAG and returns what its tasks returned, by their names."""
        path = self.trigger(dag)
        wait_for(f"the end of {dag}", lambda: self.call("GET", path)["state"] in ("success", "failed"))
        tasks = self.call("GET", f"{path}/taskInstances")["task_instances"]
        assert {task["task_id"]: task["state"] for task in tasks if task["state"] != "success"} == {}
        entry = path + "/taskInstances/{}/xcomEntries/return_value"
        return {task["task_id"]: self.call("GET", entry.format(task["task_id"]))["value"] for task in tasks}


def wait_for(what, ask, seconds=180):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = ask()
        except (urllib.error.URLError, OSError):
            found = None
        if found:
            return found
        time.sleep(2)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def deliver(name):
    for node in [MASTER, *WORKERS.values()]:
        docker("cp", str(SCENARIO / "dags" / name), f"{node}:/var/lib/airflow/dags/{name}")
        docker("exec", node, "chown", "airflow:airflow", f"/var/lib/airflow/dags/{name}")


@pytest.fixture(scope="module")
def api():
    deliver("hardening.py")
    return Api()


def test_second_run_changes_nothing(records):
    assert records.changed("converge", run=1) == []


@pytest.mark.parametrize("node", [MASTER, *WORKERS.values()])
def test_nobody_gets_sudo_unasked(node):
    assert inside(node, "command -v sudo").stdout == ""
    assert inside(node, f"ls {SUDOERS}").returncode != 0
    assert "sudo" not in docker("exec", node, "id", "-nG", "airflow").split()


@pytest.mark.parametrize("node", [MASTER, *WORKERS.values()])
def test_figures_are_those_of_the_page(node):
    units = page_rows("Figures by unit")
    found = {unit: figure for unit, figure in figures(node).items() if unit in units}
    assert len(found) == (7 if node == MASTER else 2), "a unit is missing"
    expected = {unit: of_unit(unit) for unit in found}
    if node == WORKERS["strict"]:
        expected["airflow-worker"] = of_preset("strict", TASKS)
    assert found == expected


def test_strict_units_keep_the_promise():
    found = figures(MASTER)
    assert (
        max(found[unit] for unit in ("airflow-api-server", "airflow-triggerer", "airflow-proxy", "airflow-redis"))
        <= PROMISED
    )
    assert figures(WORKERS["strict"])["airflow-worker"] <= PROMISED


@pytest.mark.parametrize("preset", WORKERS)
def test_tasks_run_with_each_preset(api, preset):
    results = api.results(f"own_user_{preset}")
    assert results["compiled"]["total"] == 499500
    assert results["compiled"]["new"] > 0, "nothing was compiled to memory"
    assert results["declared"] == "written"
    assert results["elsewhere"] == {"baseline": "written", "strict": "EROFS"}[preset]


def test_an_unknown_user_is_refused_before_anything_changes(playbook):
    run = playbook(
        "dataops.airflow.site", "--extra-vars", '{"airflow_impersonation_users": ["reports", "nobody_knows"]}'
    )
    assert run.rc != 0
    assert run.changed == []
    # Where no task runs, no user is needed.
    assert f"{', '.join(WORKERS.values())}: airflow_impersonation_users: there is no user nobody_knows" in run.output


def test_sudo_comes_with_the_users_it_is_for(playbook):
    assert playbook("dataops.airflow.site", inventories=[OTHERS]).rc == 0
    assert playbook("dataops.airflow.site", inventories=[OTHERS]).changed == []
    # No task runs there.
    assert inside(MASTER, f"command -v sudo || ls {SUDOERS}").returncode != 0
    for node in WORKERS.values():
        assert docker("exec", node, "stat", "--format", "%U:%G %a", SUDOERS) == "root:root 440"
        assert inside(node, f"visudo -cf {SUDOERS}").returncode == 0
        as_airflow = "cd / && runuser -u airflow -- sudo -n -u"
        assert inside(node, f"{as_airflow} reports id -un").stdout == "reports\n"
        for other in ("root", "nobody", "redis", "'#0'"):
            assert inside(node, f"{as_airflow} {other} true").returncode != 0, other
        assert docker("exec", node, "stat", "--format", "%a", "/var/lib/airflow", "/var/lib/airflow/dags") == "751\n755"


def test_figures_of_other_presets_are_those_of_the_page():
    found = figures(MASTER)
    for unit, preset in (
        ("airflow-api-server", "baseline"),
        ("airflow-scheduler", "strict"),
        ("airflow-dag-processor", "strict"),
        ("airflow-triggerer", "none"),
    ):
        assert found[unit] == of_preset(preset), unit
    for preset, node in WORKERS.items():
        assert figures(node)["airflow-worker"] == of_preset(preset, OTHER_USERS)


@pytest.mark.parametrize("preset", WORKERS)
def test_tasks_run_as_another_user_with_each_preset(api, preset):
    identity = api.results(f"other_user_{preset}")["identity"]
    assert identity == {"user": "reports", "groups": True, "secrets": False, "root": False}
    results = api.results(f"own_user_{preset}")
    assert results["compiled"]["new"] > 0
    assert results["elsewhere"] == {"baseline": "written", "strict": "EROFS"}[preset]


def test_the_rule_goes_with_its_users(playbook):
    run = playbook("dataops.airflow.site")
    assert run.rc == 0
    for preset, node in WORKERS.items():
        assert inside(node, f"ls {SUDOERS}").returncode != 0
        assert inside(node, "cd / && runuser -u airflow -- sudo -n -u reports true").returncode != 0
        assert docker("exec", node, "stat", "--format", "%a", "/var/lib/airflow", "/var/lib/airflow/dags") == "750\n750"
        assert figures(node)["airflow-worker"] == of_preset(preset, TASKS)
        state = docker("exec", node, "systemctl", "show", "--property", "NoNewPrivileges", "airflow-worker")
        assert re.fullmatch("NoNewPrivileges=yes", state)
