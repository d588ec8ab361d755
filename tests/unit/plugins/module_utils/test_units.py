# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemctl and /proc say."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils import _units

# As printed by systemd 252.
BLOCK = """MainPID={pid}
NRestarts={restarts}
Id={id}.service
LoadState={load}
ActiveState={active}
SubState={sub}
UnitFileState={file}
Job={job}
NeedDaemonReload={reload}
"""
DEFAULTS = {
    "pid": 0,
    "restarts": 0,
    "id": "u",
    "load": "loaded",
    "active": "active",
    "sub": "running",
    "file": "enabled",
    "job": "",
    "reload": "no",
}


@pytest.fixture
def printed(monkeypatch):
    """Makes systemctl print these blocks."""

    def set_blocks(*blocks):
        text = "\n".join(BLOCK.format(**dict(DEFAULTS, **block)) for block in blocks)
        monkeypatch.setattr(_units, "systemctl", lambda *arguments: text)

    return set_blocks


@pytest.fixture
def process():
    environment = {"AIRFLOW_DEPLOYMENT": "0f3a", "AIRFLOW_UNIT_DIGEST": "abcd", "ODD": "a=b", "BYTES": b"\xff"}
    started = subprocess.Popen([sys.executable, "-S", "-c", "input()"], env=environment, stdin=subprocess.PIPE)
    while b"AIRFLOW" not in open(f"/proc/{started.pid}/environ", "rb").read():
        time.sleep(0.01)
    yield started
    started.kill()
    started.communicate()


def test_no_names_ask_nothing():
    assert _units.show([]) == {}


def test_one_block_and_its_process(printed, process):
    printed({"pid": process.pid, "restarts": 3})
    state = _units.show(["u"])["u"]
    assert abs(state.pop("started") - time.time()) < 60
    assert state == {
        "exists": True,
        "alias": False,
        "masked": False,
        "active": "active",
        "sub": "running",
        "enabled": True,
        "job": False,
        "needs_reload": False,
        "restarts": 3,
        "pid": process.pid,
        "deployment": "0f3a",
        "unit_digest": "abcd",
    }


def test_blocks_belong_to_names_by_their_order(printed):
    printed({"id": "airflow-api-server", "sub": "one"}, {"id": "airflow-scheduler", "sub": "two"})
    states = _units.show(["airflow-webserver", "airflow-scheduler"])
    assert [state["sub"] for state in states.values()] == ["one", "two"]
    assert list(states) == ["airflow-webserver", "airflow-scheduler"]


def test_blocks_that_are_not_one_a_name(printed):
    printed({})
    with pytest.raises(_units.SystemdError, match="told of 1 units when asked about a, b"):
        _units.show(["a", "b"])


@pytest.mark.parametrize(
    "load, active, exists, masked",
    [
        ("loaded", "inactive", True, False),
        ("not-found", "inactive", False, False),
        ("not-found", "failed", False, False),
        # Its file was removed while it ran.
        ("not-found", "active", True, False),
        ("not-found", "deactivating", True, False),
        ("masked", "inactive", True, True),
        ("bad-setting", "inactive", True, False),
    ],
)
def test_existence(printed, load, active, exists, masked):
    printed({"load": load, "active": active})
    state = _units.show(["u"])["u"]
    assert (state["exists"], state["masked"]) == (exists, masked)


@pytest.mark.parametrize(
    "file, enabled",
    [
        ("enabled", True),
        ("static", True),
        ("enabled-runtime", False),
        ("disabled", False),
        ("alias", False),
        ("linked", False),
        ("masked", False),
        ("", False),
    ],
)
def test_what_counts_as_enabled(printed, file, enabled):
    printed({"file": file})
    assert _units.show(["u"])["u"]["enabled"] is enabled


def test_jobs_and_reloads(printed):
    printed({"job": "180", "reload": "yes"})
    state = _units.show(["u"])["u"]
    assert state["job"] is True and state["needs_reload"] is True


def test_environment_of_processes(process):
    environment = _units.process_environment(process.pid)
    assert environment["ODD"] == "a=b" and environment["BYTES"] == "\ufffd"
    assert _units.process_environment(0) == {}


def test_process_that_has_just_ended(printed):
    ended = subprocess.Popen(["true"])
    ended.wait()
    printed({"pid": ended.pid})
    state = _units.show(["u"])["u"]
    assert (state["deployment"], state["unit_digest"], state["started"]) == (None, None, 0)


def test_environment_that_may_not_be_read(monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(_units.SystemdError, match="process 1: this needs root, in a container with CAP_SYS_PTRACE"):
        _units.process_environment(1)


def test_start_of_a_process_whose_name_looks_like_its_fields(tmp_path):
    odd = tmp_path / "a) S (b"
    odd.symlink_to(sys.executable)
    started = subprocess.Popen([str(odd), "-S", "-c", "input()"], stdin=subprocess.PIPE, env={"PYTHONHOME": sys.prefix})
    try:
        assert abs(_units.process_started(started.pid) - time.time()) < 60
    finally:
        started.kill()
        started.communicate()
    assert _units.process_started(0) == 0


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])

    def script(name, text):
        (tmp_path / name).write_text("#!/bin/sh\n" + text)
        (tmp_path / name).chmod(0o755)

    return script


def test_systemctl(path):
    path("systemctl", 'echo "$@"; echo "$LC_ALL"\n')
    assert _units.systemctl("stop", "u") == "--no-pager --no-ask-password stop u\nC.UTF-8\n"
    path("systemctl", "printf 'not \\377 found' >&2; exit 5\n")
    with pytest.raises(_units.SystemdError, match="stop u failed: not \ufffd found"):
        _units.systemctl("stop", "u")


def test_hosts_without_systemd(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_units.SystemdError, match="cannot run systemctl"):
        _units.systemctl("stop", "u")
    assert "cannot run journalctl" in _units.journal("u")


def test_journal(path):
    path("journalctl", 'echo "$@"; printf "\\377\\n\\n"\n')
    assert _units.journal("u", 7) == "--no-pager --quiet --output cat --unit u --lines 7\n\ufffd"
