# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The info module with a systemd that is made up and a deployment on disk."""

from __future__ import annotations

import contextlib
import json
import os
import pwd

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_info

STATE = {
    "exists": True,
    "active": "active",
    "sub": "running",
    "pid": 4711,
    "restarts": 2,
    "started": 1,
    "deployment": "0f3a",
}


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    deployment = tmp_path / "deployments" / "0f3a"
    deployment.mkdir(parents=True)
    (deployment / "manifest.json").write_text('{"version": "3.3.2"}')
    (tmp_path / "deployments" / "broken").mkdir()
    (tmp_path / "deployments" / "broken" / "manifest.json").write_text("[")

    def run(units, states, **more):
        looks = iter(states)
        last = [{}]

        def show(names):
            found = last[0] = next(looks, last[0])
            if isinstance(found, dict):
                return {name: dict(STATE, **found.get(name, {})) for name in names}
            raise found

        monkeypatch.setattr(airflow_info, "show", show)
        monkeypatch.setattr(airflow_info.time, "sleep", lambda seconds: None)
        arguments = {
            "venv": str(tmp_path / "venv"),
            "home": "/tmp",
            "config": "/x",
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "root": str(tmp_path),
            "units": units,
            "_ansible_check_mode": True,
        }
        with patch_module_args(dict(arguments, **more)), contextlib.suppress(SystemExit):
            airflow_info.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_states(call):
    states = {
        "down": {"active": "activating", "sub": "auto-restart", "pid": 0, "deployment": None},
        "missing": {"exists": False, "active": "inactive", "pid": 0, "deployment": None},
        "draining": {"active": "deactivating", "sub": "stop-sigterm"},
        "pruned": {"deployment": "gone"},
        "broken": {"deployment": "broken"},
    }
    result = call([{"name": name} for name in ["fine", *states]], [states])
    assert result["changed"] is False and result["queues"] == {}
    units = result["units"]
    assert units["fine"] == {
        "state": "active",
        "pid": 4711,
        "restarts": 2,
        "deployment": "0f3a",
        "version": "3.3.2",
        "trouble": "",
    }
    assert units["down"]["trouble"] == "the unit is activating (auto-restart)" and units["down"]["version"] is None
    assert (units["missing"]["state"], units["missing"]["trouble"]) == ("missing", "the unit is not on this host")
    assert units["draining"]["trouble"] == "the unit is deactivating (stop-sigterm)"
    assert [units[name]["version"] for name in ("pruned", "broken")] == [None, None]


def test_health_and_queues_that_cannot_be_asked(call):
    health = {"kind": "job", "job_type": "SchedulerJob"}
    result = call([{"name": "a", "health": health}], [{}], queues=["default"])
    assert "the release is not installed" in result["units"]["a"]["trouble"]
    assert result["queues"] == {"default": None}


def test_trouble_is_given_time_to_pass(call):
    down = {"a": {"active": "activating", "sub": "start"}}
    assert call([{"name": "a"}], [down, down, {}], timeout=60)["units"]["a"]["trouble"] == ""
    assert call([{"name": "a"}], [down, {}])["units"]["a"]["trouble"] == "the unit is activating (start)"


def test_systemd_that_does_not_answer(call):
    result = call([{"name": "a"}], [airflow_info.SystemdError("no bus")])
    assert result["failed"] and result["msg"] == "no bus"


def test_health_needs_its_arguments(call):
    assert call([{"name": "a", "health": {"kind": "api", "port": 1}}], [{}])["failed"]
