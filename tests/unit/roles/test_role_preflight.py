# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gate has computed is what the roles would compute, and no gate goes by the word of one before it."""

from __future__ import annotations

import json
import sys

import pytest
from controller import ROOT, play, said


def gate(folder, name, **variables):
    """A play of the first gate alone, and of what the roles know after it."""
    shown = {
        "known": "{{ _airflow_outline }}",
        "computed": "{{ airflow_deployment | dataops.airflow.outline }}",
        "release": "{{ airflow_release_path }}",
        "anew": "{{ _airflow_release_path }}",
        "registered": "{{ __airflow_preflight_declared }}",
    }
    look = {
        "dataops.airflow.airflow_validate": {"declared": "{{ __airflow_preflight_declaration }}"},
        "register": "__airflow_preflight_declared",
    }
    show = {
        "ansible.builtin.copy": {
            "content": "{{ shown | to_json }}",
            "dest": "%s/{{ inventory_hostname }}-%s.json" % (folder, name),
            "mode": "0600",
        },
        "vars": {"shown": shown},
    }
    return {
        "hosts": "all",
        "gather_facts": False,
        "vars": dict(variables, role_path=str(ROOT / "roles/airflow_preflight")),
        "roles": [{"role": "dataops.airflow.airflow_preflight", "tags": ["never"]}],
        "tasks": [look, show],
    }


@pytest.mark.parametrize("version", ["3.3.2", "1.10.15"])
def test_later_tasks_go_by_the_word_of_the_gate(tmp_path, version):
    secret = "a-password-of-the-database"
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "airflow_version": version,
        "airflow_lock_file": "",
        "airflow_database_host": "db1",
        "airflow_database_password": secret,
        "airflow_broker_host": "broker1",
    }
    groups = {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
    changed = {"airflow_options": {"core": {"parallelism": 7}}, "airflow_extra_packages": ["another==1"]}
    plays = [gate(tmp_path, "one"), gate(tmp_path, "two", **changed)]
    (tmp_path / "play.json").write_text(json.dumps(plays))
    said(play(tmp_path))
    found = {}
    for name in ("one", "two"):
        for host in ("m1", "w1"):
            text = (tmp_path / f"{host}-{name}.json").read_text()
            assert secret not in text
            one = json.loads(text)
            assert one["known"] == one["computed"] == one["registered"]["deployment"]
            assert one["release"] == one["anew"] == one["known"]["release"]
            found.setdefault(name, one["known"])
            assert found[name] == one["known"]
    assert found["one"]["release"] != found["two"]["release"] and found["one"]["digest"] != found["two"]["digest"]
