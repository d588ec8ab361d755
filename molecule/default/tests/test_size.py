# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""playbooks/size.yml on a cluster that runs: it asks the database too, and changes nothing."""

from __future__ import annotations

import json
import os
import re

import yaml


def test_computes_from_the_hosts_and_asks_the_database(playbook, tmp_path, secrets):
    path = tmp_path / "group_vars/all/airflow_size.yml"
    declared = {"airflow_size_file": str(path), "airflow_service_worker_concurrency": None}
    done = playbook("dataops.airflow.size", "-e", json.dumps(declared))
    assert done.rc == 0
    # Written on the controller, told of the host that the play begins with.
    assert done.changed == ["airflow-default-m1: dataops.airflow.airflow_size : Compute what fits"]
    tasks = 4 * len(os.sched_getaffinity(0))
    size = yaml.safe_load(path.read_text())["airflow_size"]
    assert size["workers"] == {"airflow-default-w1": {"concurrency": tasks}} and size["parallelism"] == tasks
    assert "the server allows 297 (max_connections 300 - superuser_reserved_connections 3)" in done.output
    assert [name for name, secret in secrets.items() if secret in done.output] == []
    # What it wrote passes the gates, and reaches the worker alone as far as it is the worker's own.
    again = playbook("dataops.airflow.size", "-e", json.dumps(declared))
    assert again.rc == 0 and again.changed == []


def test_the_gate_takes_what_it_wrote(playbook, tmp_path):
    (tmp_path / "hosts.yml").write_text("all: {hosts: {airflow-default-w1: }}\n")
    (tmp_path / "group_vars/all").mkdir(parents=True)
    size = {"airflow_size": {"parallelism": 7, "workers": {"airflow-default-w1": {"concurrency": 3}}}}
    (tmp_path / "group_vars/all/airflow_size.yml").write_text(yaml.safe_dump(size))
    declared = {"airflow_service_worker_concurrency": None}
    done = playbook(
        "dataops.airflow.site",
        "--check",
        "--diff",
        "--tags",
        "config",
        "-e",
        json.dumps(declared),
        inventories=[tmp_path],
    )
    assert done.rc == 0
    assert re.search(r"^\+parallelism = 7$", done.output, re.MULTILINE)
