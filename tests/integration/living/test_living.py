# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What talks to a living Airflow, on those that are older than bundles of DAGs."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _health

PASSWORD = "s3cret & 100% ü"
ADMIN = {"username": "admin", "password": PASSWORD, "email": "a@x", "roles": ["Admin", "Op"]}
OBJECTS = {
    "connections": [
        {
            "conn_id": "warehouse",
            "conn_type": "postgresql",
            "host": "h",
            "login": "me",
            "password": PASSWORD,
            "schema": "facts",
            "port": 5432,
            "extra": {"nested": {"token": PASSWORD}},
        },
        {"conn_id": "web", "uri": "my-type://https://me:s3cret%2F1@h:8443/x%20y?a=1"},
    ],
    "variables": [{"key": "token", "value": PASSWORD + "\n"}, {"key": "places", "value": {"b": [1], "a": True}}],
    "pools": [{"name": "warehouse", "slots": 4, "description": "At once"}, {"name": "default_pool", "slots": 77}],
}
PROBE = """
import json
from airflow import settings
from airflow.models import Connection, Pool, Variable
session = settings.Session()
def connection(name):
    c = session.query(Connection).filter(Connection.conn_id == name).one()
    return [c.conn_type, c.host, c.login, c.password, c.schema, c.port, c.extra_dejson]
pools = {pool.pool: [pool.slots, pool.description] for pool in session.query(Pool)}
print(json.dumps([connection("warehouse"), connection("web"), Variable.get("token"),
                  Variable.get("places", deserialize_json=True), pools]))
"""


@pytest.fixture
def call(living, capsys):
    def run(name, check=False, **arguments):
        module = importlib.import_module("ansible_collections.dataops.airflow.plugins.modules.airflow_" + name)
        if name != "canary":
            arguments.update(
                venv=str(living.installed.path),
                home=str(living.root / "home"),
                config=str(living.config),
                user="root",
            )
        with patch_module_args(dict(arguments, _ansible_check_mode=check)), contextlib.suppress(SystemExit):
            module.main()
        text = capsys.readouterr().out
        assert "s3cret" not in text
        result = json.loads(text)
        assert not result.get("failed"), (result, living.logs())
        return result

    return run


def twice(call, name, **arguments):
    """Check mode, the run, and both again."""
    assert call(name, check=True, **arguments)["changed"] is True
    assert call(name, **arguments)["changed"] is True
    assert call(name, check=True, **arguments)["changed"] is False
    assert call(name, **arguments)["changed"] is False


def test_users(call):
    former = {"username": "former", "password": "x", "email": "f@x", "roles": ["Viewer"], "active": False}
    twice(call, "users", users=[ADMIN, former], update_password="always")
    twice(call, "users", users=[dict(former, password=PASSWORD, roles=["User"])], update_password="always")
    twice(call, "users", users=[{"username": "former", "state": "absent"}])


def test_objects(living, call):
    for option, items in OBJECTS.items():
        twice(call, option, **{option: items})
    output = living.installed.run("-W", "ignore", "-c", PROBE, config=living.config, home=living.root / "home")
    assert json.loads(output.splitlines()[-1]) == [
        ["postgres", "h", "me", PASSWORD, "facts", 5432, {"nested": {"token": PASSWORD}}],
        ["my_type", "https://h", "me", "s3cret/1", "x y", 8443, {"a": 1}],
        PASSWORD + "\n",
        {"a": True, "b": [1]},
        {"default_pool": [77, "Default pool"], "warehouse": [4, "At once"]},
    ]


def test_canary(living, call):
    def canary(deployment, *names, **more):
        return call(
            "canary",
            url=f"http://127.0.0.1:{living.port}",
            api=living.facts["api"],
            username="admin",
            password=PASSWORD,
            workers=[{"name": name, "deployment": deployment} for name in names],
            **more,
        )

    # The users' folder is not where it is found.
    shutil.rmtree(living.root / "dags")
    first = canary("d1", "w1")["workers"]["w1"]
    assert (first["state"], first["log_read"]) == ("passed", True) and first["hostname"] and first["duration"]
    assert canary("d1", "w1")["workers"]["w1"] == dict(first, state="current")
    second = canary("d2", "w1")
    assert second["workers"]["w1"]["state"] == "passed" and second["diff"]["before"] == {"w1": "d1"}
    assert canary("d2", check=True, purge=True)["purged"] == ["w1"]
    assert canary("d2", purge=True)["purged"] == ["w1"]
    assert canary("d2", purge=True)["changed"] is False


def test_health(living):
    def trouble(component, **health):
        state = {"pid": living.processes[component].pid, "started": time.time() - 3600}
        return _health.trouble(health, state, living.runner, patience=20)

    page = living.facts["components"]["webserver"]["health_path"]
    assert trouble("webserver", kind="api", port=living.port, path=page) == ""
    assert trouble("scheduler", kind="job", job_type="SchedulerJob") == ""
    assert trouble("worker", kind="worker", worker="w1") == ""
    assert "another process answers" in _health.trouble(
        {"kind": "worker", "worker": "w1"}, {"pid": 1, "started": 0}, living.runner
    )
    assert _health.ask_broker(living.runner)["trouble"] == ""
    assert _health.queue_depths(["default", "none"], living.runner) == {"default": 0, "none": 0}
