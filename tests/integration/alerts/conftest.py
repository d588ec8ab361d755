# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rule files of several clusters, as Ansible writes them, and Prometheus' own tool to test them with."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from clusters import CLUSTERS
from controller import play, said

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/airflow_prometheus"
# What a rule of the user's own has for Prometheus to fill in.
OWN_RULES = """
- name: mine
  rules:
    - alert: Mine
      expr: up{job="mine"} == 0
      annotations: {summary: !unsafe "{{ $labels.instance }} is mine"}
"""


@pytest.fixture(scope="session")
def rules(tmp_path_factory):
    """The directory of the rule files."""
    folder = tmp_path_factory.mktemp("rules")
    groups = {
        "master": {"hosts": {"m1": {}, "m2": {}}},
        "worker": {"hosts": {"w1": {}, "w2": {}}},
        "lone": {"hosts": {"m1": {}}},
        "monitor": {"hosts": CLUSTERS},
    }
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "children": groups}}))
    (folder / "own.yml").write_text("airflow_alert_rules:" + OWN_RULES.replace("\n", "\n  "))
    template = {"src": str(ROLE / "templates/rules.yml.j2"), "dest": f"{folder}/{{{{ inventory_hostname }}}}.yml"}
    content = {
        "hosts": "monitor",
        "gather_facts": False,
        "vars_files": [str(path) for path in sorted((ROLE / "vars/main").glob("*.yml"))],
        "roles": ["dataops.airflow.airflow"],
        "tasks": [
            {
                "ansible.builtin.include_vars": str(folder / "own.yml"),
                "when": "inventory_hostname == 'changed'",
            },
            {"ansible.builtin.template": dict(template, mode="0600")},
        ],
    }
    (folder / "play.json").write_text(json.dumps([content]))
    said(play(folder))
    return folder


@pytest.fixture(scope="session")
def promtool():
    """A function that runs it, and returns what it says; it fails where the tool does."""
    where = run("bash", "-c", ". bench/lib.sh && package_tree prometheus", cwd=ROOT).strip()
    return lambda *arguments: run(f"{where}/promtool", *map(str, arguments))


def run(*argv, **options):
    done = subprocess.run(
        argv,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
