# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles' argument specifications say what the roles' defaults and tasks do."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from controller import play

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())

SECRET = re.compile(r"((password|secret|secret_key|fernet_key|_urls?|kubeconfig|result_backend)|^(uri|extra|value))$")
NOT_SECRET = {
    "airflow_alert_runbook_url",
    "airflow_alertmanager_external_url",
    "airflow_alertmanager_url",
    "airflow_constraints_url",
    "airflow_dashboards_prometheus_url",
    "airflow_execution_api_url",
    "airflow_kubernetes_execution_api_url",
    "airflow_objects_update_password",
    "airflow_prometheus_external_url",
    "airflow_s3_endpoint_url",
}


def load(path):
    path = ROOT / path
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


def entry_points(role):
    return load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]


def options(role):
    return {name: option for spec in entry_points(role).values() for name, option in spec.get("options", {}).items()}


def is_computed(content):
    return isinstance(content, str) and "{{" in content


def each_option():
    """(role, name, option), those inside of others too."""
    for role in ROLES:
        for name, option in options(role).items():
            yield role, name, option
            for part, content in option.get("options", {}).items():
                yield role, part, content


@pytest.mark.parametrize("role", ROLES)
def test_entry_points_are_task_files(role):
    files = {path.stem for path in (ROOT / f"roles/{role}/tasks").glob("*.yml")}
    assert entry_points(role).keys() <= files
    if "main" in files:
        assert "main" in entry_points(role)


@pytest.mark.parametrize("role", ROLES)
def test_names_are_those_of_the_defaults(role):
    undocumented = load(f"roles/{role}/defaults/main.yml").keys() - options(role).keys()
    assert not undocumented


@pytest.mark.parametrize("role", ROLES)
def test_what_has_no_default_is_read_all_the_same(role):
    content = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("playbooks", "roles", "plugins")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".yml", ".j2", ".py") and path.name != "argument_specs.yml"
    )
    for name in options(role).keys() - load(f"roles/{role}/defaults/main.yml").keys():
        assert re.search(rf"\b{name}\b", content), f"nothing reads {name}"


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_roles(role):
    found = options(role)
    for name, content in load(f"roles/{role}/defaults/main.yml").items():
        if is_computed(content):
            assert "default" not in found[name], f"{name}: the description tells what it is computed from"
            assert "default" in str(found[name]["description"]), f"{name}: its description does not tell its default"
        else:
            assert found[name].get("default") == content, name


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_valid(role):
    literal = {
        name: content for name, content in load(f"roles/{role}/defaults/main.yml").items() if not is_computed(content)
    }
    for name, spec in entry_points(role).items():
        wanted = spec.get("options", {})
        given = {key: content for key, content in literal.items() if key in wanted}
        result = ArgumentSpecValidator(wanted).validate(given, validate_role_argument_spec=True)
        assert not result.error_messages, name


@pytest.mark.parametrize("role", ROLES)
def test_names_begin_with_that_of_the_role(role):
    assert not [name for name in options(role) if not name.startswith(role + "_")]


def test_options_are_described():
    for role, name, option in each_option():
        text = option["description"]
        last = text[-1] if isinstance(text, list) else text
        assert last.endswith("."), f"{role}: {name}"
        assert option["type"], f"{role}: {name}"
        assert option["type"] != "list" or option["elements"], f"{role}: {name}"


def test_secrets_are_not_logged():
    for role, name, option in each_option():
        wanted = bool(SECRET.search(name)) and name not in NOT_SECRET
        assert option.get("no_log", False) == wanted, f"{role}: {name}"


def validate(directory, *arguments):
    """Goes through the specification of every entry point as Ansible does, on hosts that nothing connects to."""
    (directory / "hosts.json").write_text(
        json.dumps({"all": {"children": {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}}}),
        encoding="utf-8",
    )
    tasks = [
        {"ansible.builtin.import_role": {"name": f"dataops.airflow.{role}", "tasks_from": entry_point}}
        for role in ROLES
        for entry_point in entry_points(role)
    ]
    content = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (directory / "play.json").write_text(json.dumps([content]), encoding="utf-8")
    # The validation is tagged `always`: of the roles' tasks, nothing else runs.
    return play(directory, "--tags", "validation_alone", *arguments)


def test_all_defaults_pass_the_validation_of_every_entry_point(tmp_path):
    done = validate(tmp_path)
    assert done.returncode == 0, done.stdout
    count = sum(len(entry_points(role)) for role in ROLES)
    # A role that validates the shared variables as well counts once more.
    assert int(re.search(r"^m1 +: ok=(\d+) ", done.stdout, re.MULTILINE).group(1)) >= count, done.stdout


def test_a_wrong_value_is_refused_by_name_and_no_secret_is_shown(tmp_path):
    done = validate(tmp_path, "-e", "airflow_broker_port=none airflow_broker_password=not-to-be-shown")
    assert done.returncode != 0
    assert "argument 'airflow_broker_port' is of type str and we were unable to convert to int" in done.stdout
    assert "not-to-be-shown" not in done.stdout
