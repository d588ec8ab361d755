# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What no linter checks: the parts of the collection that have to agree with each other."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def entry_points(role):
    return load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]


def test_action_group_names_every_module():
    modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")
    assert load("meta/runtime.yml")["action_groups"]["airflow"] == modules


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role):
    defaults = ROOT / f"roles/{role}/defaults/main.yml"
    if not defaults.exists():
        return
    options = {name for spec in entry_points(role).values() for name in spec.get("options", {})}
    undocumented = {name for name in load(defaults.relative_to(ROOT)) or {} if not name.startswith("_")} - options
    assert not undocumented


@pytest.mark.parametrize("role", ROLES)
def test_public_task_files_have_a_spec(role):
    tasks = {path.stem for path in (ROOT / f"roles/{role}/tasks").glob("*.yml") if not path.stem.startswith("_")}
    assert "main" not in tasks or "main" in entry_points(role)


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_playbook_names_can_be_called_by_full_name(path):
    # An imported playbook of a collection has to be a Python identifier: no dash.
    assert re.fullmatch(r"[a-z][a-z0-9_]*", path.stem)


def test_site_goes_through_the_argument_specifications_of_all_hosts_first_and_once():
    plays = [play for play in load("playbooks/site.yml") if "hosts" in play]
    gates, validated = [], set()
    for play in plays:
        roles = [content for task in tasks_of(play["tasks"]) for key, content in task.items() if key.endswith("_role")]
        assert all(role["rolespec_validate"] is False for role in roles), play["name"]
        hosts = set(re.findall(r"airflow_(?:\w+_)?hosts", play["hosts"]))
        if [role["name"] for role in roles] == ["dataops.airflow.airflow_preflight"]:
            assert len(gates) == plays.index(play), "something comes before a gate"
            gates.append(play)
            validated |= hosts
        assert hosts <= validated, play["name"]


def tasks_of(tasks):
    """Tasks, and those in blocks."""
    for task in tasks:
        yield task
        yield from tasks_of(task.get("block", []))


def test_versions_agree():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{load("galaxy.yml")["version"]}"' in pyproject
    core = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").removesuffix(".0")
    assert f'"ansible-core>={core}"' in pyproject


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_written_in_an_order_of_chance(role):
    # Ansible makes sets of the lists, whose order differs from run to run: what is made of it would change each time.
    for path in sorted((ROOT / f"roles/{role}").rglob("*")):
        if path.suffix in (".yml", ".j2"):
            found = re.findall(
                r"\| (?:union|intersect|symmetric_difference)\b|\| difference\([^|]*\| join",
                path.read_text(encoding="utf-8"),
            )
            assert found == [], path
