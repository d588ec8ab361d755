# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From variables to the content of a deployment."""

from __future__ import annotations

import configparser
import json
import pathlib
import shlex
import subprocess

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils import _deployment

RELEASE = release("3.3.2")
URL = "postgresql://airflow:s3%2Fcret$x@db/airflow"
OPTIONS = {
    "core": {"fernet_key": "the-key", "parallelism": 3, "load_examples": False},
    "database": {"sql_alchemy_conn": URL},
}


def build(options=None, root="/opt/airflow", environment=None, path="/opt/airflow/releases/one"):
    return _deployment.build(RELEASE, path, root, options or OPTIONS, environment or {})


def parsed(text):
    """As Airflow reads it: with interpolation."""
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser


def test_deployment():
    made = build(environment={"B": True, "A": 1})
    path = "/opt/airflow/deployments/" + made["digest"]
    assert (made["path"], made["config_path"]) == (path, path + "/airflow.cfg")
    assert (made["release"], made["version"]) == ("/opt/airflow/releases/one", "3.3.2")
    assert made["environment"] == {"A": "1", "B": "True"}
    assert made["secrets"] == {"core.fernet_key": "the-key", "database.sql_alchemy_conn": URL}
    assert len(made["digest"]) == 12 and set(made["fingerprints"]) == set(made["secrets"])
    assert dict(parsed(made["config"])["core"]) == {
        "fernet_key_cmd": f"cat {path}/secrets/core.fernet_key",
        "load_examples": "False",
        "parallelism": "3",
    }


def test_no_secret_is_shown():
    made = build()
    shown = json.dumps({name: value for name, value in made.items() if name != "secrets"})
    assert "s3" not in shown and "the-key" not in shown


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/opt/airflow/releases/two"},
        {"environment": {"A": "1"}},
        {"options": dict(OPTIONS, database={"sql_alchemy_conn": "another"})},
        {"options": dict(OPTIONS, core=dict(OPTIONS["core"], parallelism=4))},
    ],
)
def test_digest_changes_with_what_it_names(change):
    assert build(**change)["digest"] != build()["digest"]


def test_digest_stays_when_nothing_changes():
    turned = {section: dict(reversed(options.items())) for section, options in reversed(OPTIONS.items())}
    assert build(turned) == build()
    assert build(root="/srv/airflow")["digest"] == build()["digest"]
    assert build(environment={"A": 1, "B": 2}) == build(environment={"B": "2", "A": "1"})


@pytest.mark.parametrize(
    "value",
    [
        "100%",
        "%(here)s %% %",
        "a\nb",
        "a\n\n  b",
        '{"a": "x;y#z"}',
        "# not a comment",
        "[section]",
        "a = b: c",
        "ümlaut",
        "",
    ],
)
def test_values_are_read_back(value):
    found = parsed(build({"core": {"x": value}})["config"])["core"]["x"]
    assert [line.strip() for line in found.split("\n")] == [line.strip() for line in value.split("\n")]


def test_values_of_other_types():
    section = parsed(build({"core": {"a": True, "b": {"z": 1, "y": "50%"}, "c": [1], "d": 1.5}})["config"])["core"]
    assert dict(section) == {"a": "True", "b": '{"y": "50%", "z": 1}', "c": "[1]", "d": "1.5"}


def test_lines_that_the_parser_would_drop():
    with pytest.raises(_deployment.InvalidOptions, match="a line of a value begins with #"):
        build({"core": {"x": "a\n  # b"}})
    build({"database": {"sql_alchemy_conn": "a\n# b"}})


@pytest.mark.parametrize("name", ["Fernet_Key", "FERNET_KEY", "a = b", "x\ny", ""])
def test_spellings_that_would_show_a_secret(name):
    with pytest.raises(_deployment.InvalidOptions, match="the name of an option is made of"):
        build({"core": {name: "s3cret"}})


def test_commands_survive_odd_paths():
    found = parsed(build(root="/opt/50% air flow")["config"])["core"]["fernet_key_cmd"]
    assert found.startswith("cat '/opt/50% air flow/deployments/")


def test_merge():
    base = {"core": {"a": 1, "b": 2}, "api": {"c": 3}}
    more = {"core": {"a": None, "b": 5}, "api": {"c": None}, "new": {"d": False}, "empty": None}
    assert _deployment.merge(base, more, None) == {"core": {"b": 5}, "new": {"d": False}}
    assert base == {"core": {"a": 1, "b": 2}, "api": {"c": 3}}
    assert _deployment.merge(base, {"core": {"a": None}}, {"core": {"a": 7}})["core"]["a"] == 7


def test_fingerprints_are_keyed():
    one, other = build(), build(dict(OPTIONS, core=dict(OPTIONS["core"], fernet_key="other")))
    name = "database.sql_alchemy_conn"
    assert one["fingerprints"][name] != other["fingerprints"][name]
    assert one["fingerprints"][name] != _deployment.fingerprints({name: URL}, "")[name]


def test_fingerprints_without_a_fernet_key_tell_no_weak_password():
    made = build({"database": {"sql_alchemy_conn": "postgresql://u:weak@db/a"}})
    name = "database.sql_alchemy_conn"
    assert made["fingerprints"][name] != _deployment.fingerprints({name: "postgresql://u:weak@db/a"}, "")[name]


@pytest.mark.parametrize("version", ["1.10.15", "2.11.2"])
def test_secrets_for_processes_of_other_users(version, tmp_path):
    """Who may not read a secret gets it from its copy of the configuration, where a release has such processes."""
    url = "mysql+mysqldb://airflow:p%40ss@db1/airflow"
    options = _deployment.options_of(release(version), {"database": {"sql_alchemy_conn": url}}, {}, {}, "/h")
    deployment = _deployment.build(release(version), "/r", str(tmp_path / "50% air flow"), options, {})
    found = parsed(deployment["config"])
    (section,) = [name for name in found.sections() if "sql_alchemy_conn_cmd" in found[name]]
    command = shlex.split(found[section]["sql_alchemy_conn_cmd"])
    file = pathlib.Path(deployment["path"], f"secrets/{section}.sql_alchemy_conn")

    def printed(**environment):
        return subprocess.run(command, env=environment, check=False, text=True, capture_output=True)

    # Without the file, as without the right to read it.
    assert printed(AIRFLOW_COPIED="/bin/echo from /tmp/copy").stdout == f"from /tmp/copy {section}.sql_alchemy_conn\n"
    assert printed().returncode != 0 and printed().stdout == ""
    file.parent.mkdir(parents=True)
    file.write_text(url)
    assert printed(AIRFLOW_COPIED="/bin/echo from /tmp/copy").stdout == printed().stdout == url
