# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules for connections, variables and pools on real servers, and what a real Airflow makes of it."""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys

import pytest
from database_bench import DEPLOYMENTS, HOME, REPOSITORY, VENV, parse

KEY, OLD_KEY, LOST_KEY = (base64.urlsafe_b64encode(os.urandom(32)).decode() for _number in range(3))
# A line break, and what means something to JSON, URLs, SQL and Python.
SECRET = 'It\'s a "s3cret" \\ of 100%s,\nü & two lines'
SECRETS = [SECRET, "s3cret", "of 100%s", KEY, "gAAAAA"]
OBJECTS = {
    "connections": [
        {
            "conn_id": "warehouse",
            "conn_type": "postgresql",
            "host": "warehouse.example.com",
            "login": "me",
            "password": SECRET,
            "schema": "facts",
            "port": 5432,
            "description": "Facts",
            "extra": {"sslmode": "verify-full", "nested": {"token": SECRET}},
        },
        {"conn_id": "web", "uri": "google-cloud-platform://https://me:s3cret%2F1@h:8443/x%20y?a=1&token=s3cret"},
    ],
    "variables": [
        {"key": "token", "value": SECRET, "description": "Of the service"},
        {"key": "places", "value": {"b": [1, SECRET], "a": True}},
    ],
    "pools": [
        {"name": "warehouse", "slots": 4, "description": "At once", "include_deferred": True},
        {"name": "default_pool", "slots": -1},
    ],
}
# Of Airflow itself. What it adds, the modules have to take for the same as ADDED.
COMMANDS = [
    ["connections", "get", "warehouse", "-o", "json"],
    ["connections", "get", "web", "-o", "json"],
    ["variables", "get", "token"],
    ["variables", "get", "places"],
    ["pools", "get", "warehouse", "-o", "json"],
    ["pools", "get", "default_pool", "-o", "json"],
    ["connections", "add", "added", "--conn-uri", "my-type://u:p%40@h:1/s?a=1&b=x"],
    ["variables", "set", "added", '{"b": 1, "a": 2}'],
    ["pools", "set", "added", "3", ""],
]
ADDED = {
    "connections": {"conn_id": "added", "uri": "my-type://u:p%40@h:1/s?a=1&b=x"},
    "variables": {"key": "added", "value": {"b": 1, "a": 2}},
    "pools": {"name": "added", "slots": 3},
}
URIS = [
    "postgres://u:p@h:5432/s",
    "postgresql://u%40:p%3A%2F%25@h/a%2Fb?sslmode=x&n=1&j=%7B%22a%22%3A1%7D&e=",
    "HTTP://Host.Example.COM",
    "http://https://u@h:1",
    "http://https://u:p@host/path",
    "my-type://?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D",
    "mysql://u@%2FTmp%2FMy.Socket/db",
    "mysql://u:p@%2FTmp%2FMy.Socket:3306/db",
    "aws://AKIA:s%2Be%2Fc@/?region_name=eu&role=arn:aws:iam::1:role%2Fx",
    "ssh://u@[::1]:22",
    "fs://",
    "fs:///tmp/x",
    "redis://:p@h:6379/0",
    "http://h?x",
    "snowflake://u:p@/s?account=a#b",
]
PROBE = """
import contextlib, io, json, sys
from airflow.cli import cli_parser
from airflow.models import Connection
asked = json.load(open(sys.argv[1]))
parser = cli_parser.get_parser()
answers = []
for command in asked["commands"]:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        arguments = parser.parse_args(command)
        arguments.func(arguments)
    answers.append(output.getvalue())
parsed = []
for uri in asked["uris"]:
    one = Connection(uri=uri)
    parsed.append([one.conn_type, one.host, one.login, one.password, one.schema, one.port, one.extra])
print(json.dumps([answers, parsed]))
"""


@pytest.fixture(scope="module")
def config(bench, initialised):
    return bench.deployment(bench.postgres_database(template=initialised), fernet=KEY)


def call(bench, config, option, *items, **more):
    result = bench.module(config, name="airflow_" + option, **{option: list(items)}, **more)
    for secret in SECRETS:
        for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            assert form not in json.dumps(result, ensure_ascii=False) and form not in str(result)
    return result


def fields(result, option):
    return {name: (done["action"], done["fields"]) for name, done in result[option].items()}


def database_of(bench, config):
    return bench.sh(f"cat {os.path.dirname(config)}/secrets/connection").stdout.rsplit("/", 1)[1]


def assert_unchanged(result):
    assert not result["failed"] and not result["changed"], result


def probe(bench, config, commands, uris=()):
    bench.write(f"{DEPLOYMENTS}/asked.json", json.dumps({"commands": commands, "uris": uris}))
    bench.write(f"{DEPLOYMENTS}/probe.py", PROBE)
    environment = f"AIRFLOW_HOME={HOME} AIRFLOW_CONFIG={config} COLUMNS=4000"
    done = bench.sh(f"{environment} {VENV}/bin/python {DEPLOYMENTS}/probe.py {DEPLOYMENTS}/asked.json", user="airflow")
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("option", OBJECTS)
def test_check_mode_says_what_the_run_does(bench, config, option):
    foreseen = call(bench, config, option, *OBJECTS[option], ansible=True, check=True)
    result = call(bench, config, option, *OBJECTS[option], ansible=True)
    assert result["changed"] and not result["failed"], result
    assert foreseen["shown"] == result["shown"] and foreseen[option] == result[option]
    for check in (True, False):
        assert_unchanged(call(bench, config, option, *OBJECTS[option], check=check))


def parts_of(uri):
    """What the module makes of a URI, in Airflow's order."""
    sys.path.insert(0, str(REPOSITORY / "collections"))
    module = importlib.import_module("ansible_collections.dataops.airflow.plugins.modules.airflow_connections")
    found = module.parse_uri(uri)
    extra = found["extra"]
    return [
        module.conn_type(found["conn_type"]),
        *(found[name] for name in ("host", "login", "password", "schema", "port")),
        json.loads(extra) if isinstance(extra, str) and extra else extra,
    ]


def test_airflow_reads_what_was_written_and_the_other_way_round(bench, config):
    answers, parsed = probe(bench, config, COMMANDS, URIS)
    warehouse, web = (json.loads(answer)[0] for answer in answers[:2])
    wanted = dict(OBJECTS["connections"][0], conn_type="postgres")
    for name in ("conn_id", "conn_type", "host", "login", "password", "schema", "description"):
        assert warehouse[name] == wanted[name], name
    assert str(warehouse["port"]) == "5432" and warehouse["extra_dejson"] == wanted["extra"]
    assert web["conn_type"] == "google_cloud_platform" and web["host"] == "https://h" and web["password"] == "s3cret/1"
    # The command line shows numbers as texts.
    assert web["schema"] == "x y" and web["extra_dejson"] == {"a": "1", "token": "s3cret"}
    assert answers[2] == SECRET + "\n"
    assert json.loads(answers[3]) == OBJECTS["variables"][1]["value"]
    pool, default = (json.loads(answer)[0] for answer in answers[4:6])
    assert (pool["slots"], pool["description"], str(pool["include_deferred"])) == ("4", "At once", "True")
    assert default["slots"] == "-1"
    for option, item in ADDED.items():
        assert_unchanged(call(bench, config, option, item))
    for uri, found in zip(URIS, parsed):
        extra = json.loads(found[6]) if found[6] else found[6]
        assert [value or None for value in parts_of(uri)] == [value or None for value in [*found[:6], extra]], uri


def test_changes_and_keys(bench, config):
    name = database_of(bench, config)
    assert fields(call(bench, config, "connections", {"conn_id": "warehouse", "host": "h2"}), "connections") == {
        "warehouse": ("updated", ["host"])
    }
    assert fields(call(bench, config, "variables", {"key": "token", "description": ""}), "variables") == {
        "token": ("updated", ["description"])
    }
    assert fields(call(bench, config, "pools", {"name": "default_pool", "slots": 9}), "pools") == {
        "default_pool": ("updated", ["slots"])
    }
    assert "cannot be removed" in call(bench, config, "pools", {"name": "default_pool", "state": "absent"})["msg"]
    token = {"key": "token", "value": SECRET}
    warehouse = {"conn_id": "warehouse", "password": SECRET}
    # The key before the one that encrypts now: all is as it was.
    rotated = bench.deployment(name, fernet=f"{OLD_KEY},{KEY}")
    assert_unchanged(call(bench, rotated, "variables", token))
    assert_unchanged(call(bench, rotated, "connections", warehouse))
    # A key that is lost.
    lost = bench.deployment(name, fernet=LOST_KEY)
    assert_unchanged(call(bench, lost, "connections", {"conn_id": "warehouse", "host": "h2"}))
    assert fields(call(bench, lost, "variables", token), "variables") == {"token": ("updated", ["value"])}
    extra = {"extra": OBJECTS["connections"][0]["extra"]}
    result = call(bench, lost, "connections", dict(warehouse, **extra))
    assert fields(result, "connections") == {"warehouse": ("updated", ["extra", "password"])}
    assert_unchanged(call(bench, lost, "connections", dict(warehouse, **extra)))
    # Two lines of which one fails: none is written.
    long = {"conn_id": "a" * 250, "conn_type": "x" * 501}
    result = call(bench, config, "connections", {"conn_id": "first", "conn_type": "http"}, long)
    assert result["failed"] and "value too long" in result["msg"] and not result["changed"]
    assert bench.postgres("SELECT count(*) FROM connection WHERE conn_id = 'first'", name) == "0"
    for option, item in ADDED.items():
        gone = {key: item[key] for key in ("conn_id", "key", "name") if key in item}
        assert call(bench, config, option, dict(gone, state="absent"))["changed"]
        assert_unchanged(call(bench, config, option, dict(gone, state="absent")))
    counts = [f"(SELECT count(*) FROM {table})" for table in ("connection", "variable", "slot_pool")]
    assert bench.postgres(f"SELECT {' + '.join(counts)}", name) == "6"


def test_two_at_once(bench, initialised):
    config = bench.deployment(bench.postgres_database(template=initialised), fernet=KEY)
    items = [{"key": f"key_{number}", "value": SECRET} for number in range(50)]
    both = [bench.start(bench.command(config, name="airflow_variables", variables=items)) for _number in range(2)]
    results = [parse(one.communicate(timeout=100)[0]) for one in both]
    assert not any(result["failed"] for result in results), results
    assert_unchanged(call(bench, config, "variables", *items))


def test_nothing_secret_in_the_most_verbose_output(bench, initialised):
    config = bench.deployment(bench.postgres_database(template=initialised), fernet=KEY)
    for option in ("connections", "variables"):
        command = bench.command(config, verbose="-vvvv ", name="airflow_" + option, **{option: OBJECTS[option]})
        output = bench.sh(command).stdout
        assert '"invocation"' in output and '"created"' in output
        for secret in SECRETS:
            assert secret not in output and json.dumps(secret)[1:-1] not in output


def test_mariadb(bench, mariadb_outdated):
    config = bench.deployment(bench.mariadb_database(mariadb_outdated), "mysql", fernet=KEY)
    for option, items in OBJECTS.items():
        assert call(bench, config, option, *items)["changed"]
        assert_unchanged(call(bench, config, option, *items))
    changed = {"conn_id": "warehouse", "host": "h2", "password": ""}
    assert fields(call(bench, config, "connections", changed), "connections")["warehouse"][1] == ["host", "password"]
    assert fields(call(bench, config, "variables", {"key": "token", "value": "x"}), "variables")["token"][1] == [
        "value"
    ]
    gone = [{"key": "token", "state": "absent"}, {"key": "places", "state": "absent"}]
    assert call(bench, config, "variables", *gone)["changed"]
    assert_unchanged(call(bench, config, "variables", *gone))
