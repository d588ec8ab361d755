# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plays after the gate go by what it computed, which is what the roles would compute; other plays compute it anew."""

from __future__ import annotations

import json
import sys

import pytest
from controller import ROOT, play, said

SECRET = "a-password-of-the-database"
OTHER = {"airflow_options": {"core": {"parallelism": 7}}, "airflow_extra_packages": ["another==1"]}
KUBERNETES = {
    "airflow_executor": "KubernetesExecutor",
    "airflow_kubernetes_image": "example.com/airflow:3.3.2",
    "airflow_kubernetes_kubeconfig": "apiVersion: v1",
}


def a_play(tasks, **variables):
    roles = ["airflow_preflight", "airflow_user", "airflow_metrics"]
    return {
        "hosts": "all",
        "gather_facts": False,
        "vars": dict(variables, role_path=str(ROOT / "roles/airflow_preflight")),
        # Of the roles it takes the variables, and runs none of their tasks.
        "roles": [{"role": "dataops.airflow." + name, "tags": ["never"]} for name in roles],
        "tasks": tasks,
    }


def gate(**variables):
    """What the first gate registers."""
    look = {
        "dataops.airflow.airflow_validate": {"declared": "{{ __airflow_preflight_declaration }}"},
        "register": "__airflow_preflight_declared",
    }
    return a_play([look], **variables)


def show(folder, name, **variables):
    """What the roles know in a play."""
    shown = {
        "known": "{{ _airflow_outline }}",
        "computed": "{{ airflow_deployment | dataops.airflow.outline }}",
        "release": "{{ airflow_release_path }}",
        "registered": "{{ __airflow_preflight_declared }}",
        "absent": "{{ __airflow_metrics_absent + __airflow_user_absent }}",
    }
    copy = {"content": "{{ shown | to_json }}", "dest": f"{folder}/{{{{ inventory_hostname }}}}-{name}.json"}
    return a_play([{"ansible.builtin.copy": dict(copy, mode="0600"), "vars": {"shown": shown}}], **variables)


@pytest.mark.parametrize(
    "variables",
    [
        {"airflow_version": "3.3.2"},
        {"airflow_version": "3.3.2", **KUBERNETES},
        {"airflow_version": "1.10.15", "airflow_impersonation_users": ["reports"]},
    ],
)
def test_what_a_play_goes_by(tmp_path, variables):
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "airflow_lock_file": "",
        "airflow_database_host": "db1",
        "airflow_database_password": SECRET,
        "airflow_broker_host": "broker1",
        "airflow_monitoring": False,
        "__airflow_preflight_found": {"leftovers": ["airflow-statsd"]},
        **variables,
    }
    groups = {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "children": groups}}))
    plays = [
        gate(),
        show(tmp_path, "after", _airflow_gate_passed=True),
        show(tmp_path, "other", **OTHER),
        gate(**OTHER),
        show(tmp_path, "again", _airflow_gate_passed=True, **OTHER),
    ]
    (tmp_path / "play.json").write_text(json.dumps(plays))
    said(play(tmp_path))
    found = {}
    for name in ("after", "other", "again"):
        texts = [(tmp_path / f"{host}-{name}.json").read_text() for host in ("m1", "w1")]
        assert not any(SECRET in text for text in texts)
        for one in map(json.loads, texts):
            assert one["known"] == one["computed"]
            assert one["release"] == one["known"]["release"]
            assert one["known"] == one["registered"]["deployment"] or name == "other"
            found[name] = one
    assert found["other"]["known"] == found["again"]["known"] != found["after"]["known"]
    assert found["other"]["release"] != found["after"]["release"]
    assert found["after"]["absent"] == found["again"]["absent"] == ["airflow-statsd"]
    assert {"airflow-node-exporter", "airflow-statsd", "airflow-metrics"} <= set(found["other"]["absent"])


def test_what_the_gate_warns_of(tmp_path):
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "airflow_version": "3.3.2",
        "airflow_lock_file": "",
        "airflow_database_host": "db1",
        "airflow_broker_host": "broker1",
        "airflow_monitoring": False,
        "airflow_cfg": {"rbac": True},
        "airflow_options": {"core": {"parallelism": 1000}},
    }
    groups = {"master": {"hosts": {"m1": {}, "m2": {}}}, "worker": {"hosts": {"w1": {}}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "children": groups}}))
    (tmp_path / "play.json").write_text(json.dumps([gate()]))
    output = " ".join(said(play(tmp_path, COLUMNS="1000")).split())
    for warning in (
        "airflow_cfg.rbac has no effect",
        "parallelism: each scheduler may",
    ):
        assert output.count(warning) == 1, output
