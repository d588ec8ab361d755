# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units that the role airflow_service makes of the variables. Molecule's scenarios have them at work."""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest
from controller import evaluate

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOSTS = {
    "celery": {},
    "local": {"airflow_executor": "LocalExecutor"},
    "pods": {"airflow_executor": "KubernetesExecutor"},
    "older": {"airflow_version": "2.11.2"},
    "oldest": {"airflow_version": "1.10.15"},
}


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The texts of all units of a host that is both master and worker, by host and unit."""
    folder = tmp_path_factory.mktemp("units")
    # Outside the role, the template is looked for beside the playbook.
    shutil.copy(ROOT / "roles/airflow_service/templates/unit.service.j2", folder)
    groups = {"master": HOSTS, "worker": dict.fromkeys(HOSTS, {})}
    shown = {"units": "{{ __airflow_service_units | items2dict('name', 'content') }}"}
    image = "registry.example.com/airflow:1"
    found = evaluate(folder, groups, shown, ["airflow_service"], airflow_kubernetes_image=image)
    return {host: texts["units"] for host, texts in found.items()}


@pytest.mark.parametrize(
    "host, waiting",
    [
        ("celery", {"airflow-worker"}),
        ("local", {"airflow-scheduler"}),
        ("pods", set()),
        ("older", set()),
        ("oldest", set()),
    ],
)
def test_what_runs_tasks_that_ask_an_api_server_waits_for_one(units, host, waiting):
    assert {name for name, text in units[host].items() if "ExecStartPre=" in text} == waiting
    for name in waiting:
        release, deployment = re.search(
            r"^ExecStartPre=(/opt/airflow/releases/\S+)/bin/python (/opt/airflow/deployments/\S+)/await_api.py$",
            units[host][name],
            re.MULTILINE,
        ).groups()
        assert f"\nExecStart={release}/bin/airflow " in units[host][name]
        assert f"\nEnvironmentFile={deployment}/environment\n" in units[host][name]
        assert "\nTimeoutStartSec=infinity\n" in units[host][name]
