# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of another type are refused, whichever role they are for, before any host is asked."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.dataops.airflow.plugins.action.airflow_arguments import (
    ActionModule,
    defaults,
    missing,
    options,
    wrong,
)
from controller import play
from refusals import refused

ROOT = pathlib.Path(__file__).resolve().parents[4]


def test_it_knows_the_variables_of_every_role_and_entry_point():
    names = options()
    for path in (ROOT / "roles").glob("*/defaults/main.yml"):
        assert (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).keys() <= names.keys()


@pytest.mark.parametrize(
    "name, value",
    [
        ("airflow_install_timeout", 60),
        ("airflow_install_timeout", "60"),
        ("airflow_proxy_port", 8089),
        ("airflow_service_read_write_paths", ["/srv/a", "/srv/b"]),
        ("airflow_database_password", "0123"),
        ("airflow_options", {"core": {"parallelism": 3}, "celery": None}),
        ("airflow_objects_pools", []),
        ("airflow_monitor_hosts", ["watch1"]),
        ("airflow_cfg", {"smtp_user": None, "executor": "CeleryExecutor"}),
    ],
)
def test_what_a_role_would_take_is_not_wrong(name, value):
    assert wrong(name, options()[name], value) == []


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("airflow_install_timeout", "soon", "write a value of type int"),
        ("airflow_service_keep", [3], "write a value of type int"),
        ("airflow_objects_connections", "warehouse", "it is of type str: write a list"),
        # The templates of the roles would not take it apart.
        ("airflow_service_read_write_paths", "/srv/a,/srv/b", "it is of type str: write a list"),
        ("airflow_objects_users", ["ada"], "write a value of type list of dict"),
        ("airflow_database_host", ["db1"], "it is of type list: write a text"),
        # In quotes it would be a text that is not empty.
        ("airflow_alertmanager_slack_url", False, "it is of type bool: write a text"),
        ("airflow_objects_pools", [{"slots": 3}], "missing required arguments: name found in airflow_objects_pools"),
    ],
)
def test_what_is_wrong_names_the_variable_and_the_type(name, value, words):
    problems = wrong(name, options()[name], value)
    assert all(problem.startswith(f"{name}: ") for problem in problems)
    assert words in problems[-1]


@pytest.mark.parametrize(
    "refusal, name, value",
    [
        ("a-argument-list", "airflow_extra_packages", "apache-airflow-providers-http"),
        ("a-argument-text", "airflow_database_password", 83),
        ("a-argument-section", "airflow_options", {"core": "parallelism", "celery": {}}),
        ("a-argument-cfg", "airflow_cfg", {"sql_alchemy_conn": None, "executor": "CeleryExecutor"}),
    ],
)
def test_what_could_not_be_computed_with(refusal, name, value):
    (problem,) = wrong(name, options()[name], value)
    assert refused(refusal, problem) and "83" not in problem


def test_what_has_no_value_is_refused_unless_the_default_has_none():
    own = defaults()
    (problem,) = missing("airflow_database_host", own)
    assert refused("a-argument-null", problem)
    assert missing("airflow_environment", own) and missing("airflow_webserver_port", own)
    may_be_null = {name for name in own if not missing(name, own)}
    assert {"airflow_service_worker_concurrency", "airflow_service_worker_autoscale"} <= may_be_null
    assert missing("airflow_address", own) == []


def test_a_secret_is_not_in_what_is_said():
    users = [{"name": "ada", "password": "not-to-be-shown", "passwort": "not-to-be-shown"}]
    assert "not-to-be-shown" not in "".join(wrong("airflow_objects_users", options()["airflow_objects_users"], users))


def test_a_default_that_nobody_changed_is_not_computed(monkeypatch):
    """To compute all of them on each host takes longer than the rest of the look at the types."""
    computed = []

    class Templar:
        @staticmethod
        def template(value):
            computed.append(value)
            return value

    monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
    action = object.__new__(ActionModule)
    action._templar = Templar
    result = action.run(task_vars=dict(defaults(), airflow_install_timeout="soon"))
    assert computed == ["soon"]
    assert [problem.split(":")[0] for problem in result["problems"]] == ["airflow_install_timeout"]


def gate(directory, tasks="arguments", shared=None, **variables):
    """What the gate says of a master and of a database's host, which has this variable of its own. Neither is there."""
    groups = {"master": {"hosts": {"m1": {}}}, "database": {"hosts": {"db1": variables}}}
    (directory / "hosts.json").write_text(
        json.dumps({"all": {"children": groups, "vars": shared or {}}}), encoding="utf-8"
    )
    task = {"ansible.builtin.import_role": {"name": "dataops.airflow.airflow_preflight", "tasks_from": tasks}}
    content = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": [task]}
    (directory / "play.json").write_text(json.dumps([content]), encoding="utf-8")
    return play(directory)


def test_defaults_pass(tmp_path):
    done = gate(tmp_path)
    assert done.returncode == 0, done.stdout


def test_one_host_that_is_wrong_stops_all_before_any_is_asked(tmp_path):
    done = gate(tmp_path, airflow_postgresql_max_connections="many")
    assert done.returncode != 0
    assert refused("a-argument-type", done.stdout), done.stdout
    assert "db1: airflow_postgresql_max_connections: " in done.stdout


def test_a_variable_that_cannot_be_computed_is_left_to_what_needs_it(tmp_path):
    done = gate(tmp_path, airflow_postgresql_max_connections="{{ nobody_has_this }}")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["airflow_cfg", "airflow_options", "airflow_environment"])
def test_types_are_looked_at_before_anything_is_computed_with_them(tmp_path, name):
    done = gate(tmp_path, "main", {name: "text"})
    assert done.returncode != 0
    assert f"every host: {name}: it is of type str: write a dict" in done.stdout, done.stdout
