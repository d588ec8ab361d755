# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restart that failed on one host is the last of its run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.dataops.airflow.plugins.action import airflow_service


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the action for a host; the module says what is given."""
    monkeypatch.setattr(airflow_service.C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
    called = []

    def run(host, answer, check_mode=False, **arguments):
        action = object.__new__(airflow_service.ActionModule)
        action._task = SimpleNamespace(args=arguments, check_mode=check_mode)
        action._execute_module = lambda task_vars: called.append(host) or answer
        return action.run(task_vars={"inventory_hostname": host})

    run.called = called
    return run


def test_others_are_restarted_as_long_as_none_fails(run):
    for host in ("m1", "m2"):
        assert run(host, {"changed": True}, restart="stale") == {"changed": True}
    assert run.called == ["m1", "m2"]


@pytest.mark.parametrize("restart", ["stale", "all"])
def test_nothing_is_restarted_after_a_failure(run, restart):
    run("m1", {"failed": True, "msg": "not healthy"}, restart="stale")
    refused = run("m2", {"changed": True}, restart=restart)
    assert refused["failed"] and "on m1 failed" in refused["msg"]
    assert run("m3", {}, restart=restart)["failed"]
    assert run.called == ["m1"]


def test_a_host_that_cannot_be_reached_stops_nobody(run):
    run("w1", {"unreachable": True}, restart="stale")
    assert not run("w2", {"changed": True}, restart="stale").get("failed")


def test_starting_and_looking_are_no_restarts(run):
    run("m1", {"failed": True}, restart="none")
    assert not run("m2", {"changed": True}, restart="stale").get("failed")
    run("m2", {"failed": True}, restart="stale")
    assert not run("m3", {"changed": True}).get("failed")
    assert not run("m3", {"changed": True}, check_mode=True, restart="stale").get("failed")
