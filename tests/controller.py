# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of Ansible's programs as a user's, with none of the bench's settings, for the tests of all kinds."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "collections"


def run(*command, cwd, **variables):
    """Runs a program that is installed beside this Python; `variables` are added to its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment["PATH"]
    environment.update(variables, ANSIBLE_NOCOLOR="1")
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def play(folder, *arguments, playbook="play.json", inventory="hosts.json", **variables):
    """Runs a playbook in a folder with this checkout's collection."""
    variables.setdefault("ANSIBLE_COLLECTIONS_PATH", str(COLLECTIONS))
    return run("ansible-playbook", playbook, "-i", inventory, *arguments, cwd=folder, **variables)


def said(done):
    """What a run said that went well."""
    assert done.returncode == 0, done.stdout
    return done.stdout


def evaluate(folder, groups, shown, roles, **variables):
    """What expressions become on hosts that nothing connects to, by host.

    `groups` has the variables of each host by group, `shown` the expressions by name. Of the roles it takes the
    variables, and runs none of their tasks.
    """
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "airflow_lock_file": "",
        "airflow_database_host": "db1",
        "airflow_broker_host": "broker1",
        **variables,
    }
    children = {name: {"hosts": hosts} for name, hosts in groups.items()}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "children": children}}))
    task = {
        "ansible.builtin.copy": {
            "content": "{{ shown | to_json }}",
            "dest": str(folder) + "/{{ inventory_hostname }}.json",
            "mode": "0600",
        },
        "vars": {"shown": shown},
        "tags": ["shown"],
    }
    content = {
        "hosts": "all",
        "gather_facts": False,
        "roles": [{"role": "dataops.airflow." + role, "tags": ["roles"]} for role in roles],
        "tasks": [task],
    }
    (folder / "play.json").write_text(json.dumps([content]))
    said(play(folder, "--tags", "shown"))
    names = {host for hosts in groups.values() for host in hosts}
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
