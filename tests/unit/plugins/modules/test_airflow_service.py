# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service module with a systemctl that is made up, and real unit files, processes and health pages."""

from __future__ import annotations

import contextlib
import grp
import http.server
import json
import os
import pwd
import signal
import subprocess
import threading
import time

import fake_systemctl
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _units
from ansible_collections.dataops.airflow.plugins.modules import airflow_service

CONTENT = "[Service]\nEnvironment=AIRFLOW_UNIT_DIGEST=@digest@\nEnvironment=V={}\nExecStart=/x %%h\n"


class Host:
    """A host as systemd would have it."""

    def __init__(self, root):
        self.directory = root / "system"
        self.directory.mkdir()
        self.state = root / "state.json"
        self.state.write_text(json.dumps({"units": {}, "log": []}))
        self.refuses = None

    def units(self):
        return json.loads(self.state.read_text())["units"]

    def log(self):
        """What systemctl was told since the last time it was asked for."""
        state = json.loads(self.state.read_text())
        log, state["log"] = state["log"], []
        self.state.write_text(json.dumps(state))
        return log

    def set(self, name, **values):
        state = json.loads(self.state.read_text())
        new = {"active": "inactive", "pid": 0, "enabled": False, "loaded": None, "job": "", "habit": ""}
        state["units"].setdefault(name, new).update(values)
        self.state.write_text(json.dumps(state))

    def file(self, name):
        return self.directory / (name + ".service")

    def stop(self):
        for unit in self.units().values():
            if unit["pid"]:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(unit["pid"], signal.SIGKILL)
                    os.waitpid(unit["pid"], 0)


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    real = subprocess.run

    def run(argv, check=False, **more):
        output, error = "", ""
        if argv[0] == "journalctl":
            return subprocess.CompletedProcess(argv, 0, b"these were its last words\n")
        if argv[0] != "systemctl":
            return real(argv, check=check, **more)
        try:
            if host.refuses and host.refuses in argv:
                raise fake_systemctl.Failed("no bus")
            output = fake_systemctl.systemctl(host.directory, host.state, argv[1:])
        except fake_systemctl.Failed as failed:
            error = str(failed)
        return subprocess.CompletedProcess(argv, 1 if error else 0, output, error)

    monkeypatch.setattr(_units.subprocess, "run", run)
    monkeypatch.setattr(airflow_service, "DIRECTORY", str(host.directory))
    monkeypatch.setattr(airflow_service, "LOCK", str(tmp_path / "lock"))
    sleep = time.sleep
    monkeypatch.setattr(airflow_service.time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    yield host
    host.stop()


@pytest.fixture
def call(host, capsys):
    def run(*units, check=False, **more):
        units = [unit if isinstance(unit, dict) else declared(unit) for unit in units]
        arguments = dict({"timeout": 20, "stop_timeout": 20}, units=units, _ansible_check_mode=check, **more)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_service.main()
        return json.loads(capsys.readouterr().out)

    return run


def declared(name, value="1", **more):
    return dict(name=name, content=CONTENT.format(value), **more)


def lists(result):
    """The lists of a result that are not empty."""
    names = ("written", "started", "restarted", "stale", "stopping", "masked", "removed")
    return {name: result[name] for name in names if result[name]}


def test_first_run_check_and_second_run(host, call):
    result = call("a", "b", check=True)
    assert result["changed"] is True and lists(result) == {"written": ["a", "b"], "started": ["a", "b"]}
    assert not list(host.directory.iterdir()) and host.log() == []
    result = call("a", "b")
    assert result["changed"] is True and lists(result) == {"written": ["a", "b"], "started": ["a", "b"]}
    assert host.log() == ["enable a b", "daemon-reload", "start a", "start b"]
    digest = airflow_service.Unit("a", CONTENT.format("1"), None).digest
    assert host.file("a").read_text() == CONTENT.format("1").replace("@digest@", digest)
    assert oct(host.file("a").stat().st_mode) == "0o100644"
    assert result["diff"][0]["before"] == "" and result["diff"][0]["after"] == host.file("a").read_text()
    for check in (True, False):
        for restart in ("none", "stale"):
            result = call("a", "b", check=check, restart=restart)
            assert result["changed"] is False and lists(result) == {} and result["diff"] == []
    assert host.log() == []


def test_late_units_start_when_those_with_a_heartbeat_are_healthy(host, call, monkeypatch):
    seen = []

    def troubles(asked, *more):
        seen.extend(host.log() + [sorted(asked)])
        return {}

    monkeypatch.setattr(airflow_service, "troubles", troubles)
    job = dict(kind="job", job_type="SomeJob")
    api = dict(kind="api", port=1, path="/health")
    result = call(declared("a", late=True, health=job), declared("b", health=job), declared("c", health=api))
    assert lists(result)["started"] == ["a", "b", "c"]
    assert seen == ["enable a b c", "daemon-reload", "start b", "start c", ["b"], "start a", ["c"], ["a", "b"]]
    assert host.log() == []


def test_changed_unit_is_restarted_when_asked_to(host, call):
    call("a", "b")
    host.log()
    pid = host.units()["a"]["pid"]
    result = call(declared("a", "2"), "b", check=True)
    assert result["changed"] is True and lists(result) == {"written": ["a"], "stale": ["a"]}
    result = call(declared("a", "2"), "b")
    assert result["changed"] is True and lists(result) == {"written": ["a"], "stale": ["a"]}
    assert host.log() == ["daemon-reload"] and host.units()["a"]["pid"] == pid
    result = call(declared("a", "2"), "b")
    assert result["changed"] is False and lists(result) == {"stale": ["a"]}
    result = call(declared("a", "2"), "b", restart="stale", check=True)
    assert result["changed"] is True and lists(result) == {"restarted": ["a"], "stale": ["a"]}
    assert host.log() == []
    result = call(declared("a", "2"), "b", restart="stale")
    assert result["changed"] is True and lists(result) == {"restarted": ["a"]}
    assert host.log() == ["restart a"] and host.units()["a"]["pid"] != pid
    assert call(declared("a", "2"), "b", restart="stale")["changed"] is False


def test_files_that_units_read(host, call, tmp_path):
    path = tmp_path / "a.conf"
    file = {"path": str(path), "content": "port 1\n", "owner": pwd.getpwuid(os.getuid()).pw_name}
    file["group"] = grp.getgrgid(os.getgid()).gr_name
    promised = call("a", files=[file], check=True)
    assert promised["changed"] is True and not path.exists()
    result = call("a", files=[file])
    assert result["files"] == promised["files"] == [str(path)] and path.read_text() == "port 1\n"
    result = call("a", files=[file])
    assert result["changed"] is False and result["files"] == []
    # What a program refuses is not put in place, and no unit is touched.
    host.log()
    other = dict(file, content="port x\n", validate="grep -q 1 %s")
    result = call(declared("a", "2"), files=[other], restart="stale")
    assert result["failed"] and str(path) in result["msg"] and host.log() == []
    assert path.read_text() == "port 1\n" and "V=1" in host.file("a").read_text()
    assert "cannot make the file" in call("a", files=[dict(file, mode="rw")])["msg"]


@pytest.mark.parametrize("killed_after", ["a half-written file", "the file", "the reload"])
def test_run_that_was_killed_loses_no_restart(host, call, killed_after):
    call("a")
    if killed_after == "a half-written file":
        (host.directory / "a.service.new").write_text("[Serv")
    else:
        airflow_service.Unit("a", CONTENT.format("2"), None).write()
    if killed_after == "the reload":
        airflow_service.systemctl("daemon-reload")
    host.log()
    result = call(declared("a", "2"), restart="stale")
    assert result["changed"] is True and result["restarted"] == ["a"] and result["stale"] == []
    assert host.log() == (["restart a"] if killed_after == "the reload" else ["daemon-reload", "restart a"])
    assert [path.name for path in host.directory.iterdir()] == ["a.service"]


def test_run_that_was_killed_before_it_enabled(host, call):
    call("a")
    host.set("a", enabled=False)
    host.log()
    assert call("a", check=True)["changed"] is True
    assert call("a")["changed"] is True
    assert host.log() == ["enable a", "daemon-reload"]


def test_restart_all(host, call):
    call("a", "b")
    before = host.units()
    result = call("a", "b", restart="all", check=True)
    assert result["changed"] is True and lists(result) == {"restarted": ["a", "b"]}
    result = call("a", "b", restart="all")
    assert result["changed"] is True and lists(result) == {"restarted": ["a", "b"]}
    assert not {before[name]["pid"] for name in "ab"} & {host.units()[name]["pid"] for name in "ab"}


def test_restart_all_starts_what_does_not_run(host, call):
    call("a", "b")
    airflow_service.systemctl("stop", "b.service")
    assert lists(call("a", "b", restart="all")) == {"restarted": ["a"], "started": ["b"]}


@pytest.mark.parametrize("active", ["failed", "inactive", "activating"])
def test_units_that_do_not_run_are_started(host, call, active):
    call("a")
    host.stop()
    host.set("a", active=active, pid=0)
    host.log()
    assert lists(call("a")) == {"started": ["a"]}
    assert host.log() == (["reset-failed a", "start a"] if active == "failed" else ["start a"])


@pytest.mark.parametrize("restart", ["none", "stale"])
def test_worker_that_somebody_stops_is_left_to_it(host, call, restart, monkeypatch):
    warned = []
    monkeypatch.setattr(airflow_service.AnsibleModule, "warn", lambda module, text: warned.append(text))
    call("a", "b")
    host.set("a", active="deactivating", job="stop", habit="drains:1000")
    host.log()
    for check in (True, False):
        result = call(declared("a", "1"), "b", restart=restart, check=check)
        assert result["changed"] is False and lists(result) == {"stopping": ["a"]}
        assert warned.pop() == "still stopping, and left to it: a"
    result = call(declared("a", "2"), "b", restart=restart)
    assert lists(result) == {"written": ["a"], "stopping": ["a"]}
    assert host.log() == ["daemon-reload"]


@pytest.mark.parametrize("value", ["1", "2"])
def test_restart_that_another_run_asked_for_is_waited_for(host, call, value):
    call("a", "b")
    host.set("a", active="deactivating", job="start", habit="drains:1000")
    host.log()
    written = {"written": ["a"]} if value == "2" else {}
    for check in (True, False):
        result = call(declared("a", value), "b", check=check)
        assert result["changed"] is bool(written) and lists(result) == {"stale": ["a"], **written}
    assert call(declared("a", value), "b", restart="stale", check=True)["changed"] is False
    host.set("a", habit="drains:5")
    result = call(declared("a", value), "b", restart="stale")
    assert result["changed"] is False and lists(result) == {}
    assert host.units()["a"]["active"] == "active"
    assert host.log() == (["daemon-reload"] if written else [])


def test_unit_file_of_another_run_ends_the_wait(host, call, monkeypatch):
    call("a")
    real = airflow_service.systemctl

    def other(*arguments):
        if arguments[0] == "restart":
            airflow_service.Unit("a", CONTENT.format("3"), None).write()
            real("daemon-reload")
        return real(*arguments)

    monkeypatch.setattr(airflow_service, "systemctl", other)
    result = call(declared("a", "2"), restart="stale", timeout=300)
    assert result["failed"] and "another run is at work on this host and wrote another unit file" in result["msg"]


def test_unit_that_had_begun_to_start_when_its_file_was_written(host, call, monkeypatch):
    call("a")
    host.stop()
    host.set("a", active="activating", pid=0)
    real = airflow_service.systemctl

    def late(*arguments):
        if arguments[0] == "daemon-reload":
            host.set("a", active="inactive")
            real("start", "a.service")
        return real(*arguments)

    monkeypatch.setattr(airflow_service, "systemctl", late)
    result = call(declared("a", "2"), timeout=300)
    assert result.get("failed") is None and lists(result) == {"written": ["a"], "started": ["a"]}
    assert call(declared("a", "2"))["changed"] is False


def test_drain_that_ends_in_a_restart_runs_the_new_unit(host, call):
    call("a")
    host.set("a", habit="drains:4")
    result = call(declared("a", "2"), restart="stale")
    assert result.get("failed") is None and lists(result) == {"written": ["a"], "restarted": ["a"]}
    assert call(declared("a", "2"), restart="stale")["changed"] is False


def test_restart_all_waits_for_what_is_stopping(host, call):
    call("a")
    host.set("a", active="deactivating", job="stop", habit="drains:5")
    assert lists(call("a", restart="all")) == {"restarted": ["a"]}
    assert host.units()["a"]["active"] == "active"


def test_masked_unit_is_refused_with_nothing_changed(host, call):
    host.file("a").symlink_to("/dev/null")
    for check in (True, False):
        result = call("b", "a", check=check)
        assert (
            result["failed"] and "a is masked on this host" in result["msg"] and "systemctl unmask a" in result["msg"]
        )
        assert result["changed"] is False
    assert host.log() == [] and not host.file("b").exists()


def test_what_may_run_once_is_unmasked_where_it_is_to_run(host, call):
    host.file("a").symlink_to("/dev/null")
    unit = {"name": "a", "content": CONTENT.format(1), "single": True}
    assert lists(call(unit, check=True)) == {"written": ["a"], "started": ["a"]}
    assert host.file("a").is_symlink()
    assert lists(call(unit)) == {"written": ["a"], "started": ["a"]}
    assert host.units()["a"]["active"] == "active" and not host.file("a").is_symlink()
    assert call(unit)["changed"] is False


@pytest.mark.parametrize("there", [True, False])
def test_masked_wherever_it_was(host, call, there):
    if there:
        call("a")
    host.log()
    assert lists(call(masked=["a"], check=True)) == {"masked": ["a"]}
    assert host.log() == [] and not host.file("a").is_symlink()
    assert lists(call(masked=["a"])) == {"masked": ["a"]}
    # It is masked only when it has stopped, and stops by what its file says.
    assert host.log() == (["stop a", "disable a"] if there else []) + ["daemon-reload"]
    assert host.file("a").is_symlink() and (not there or host.units()["a"]["active"] == "inactive")
    assert call(masked=["a"])["changed"] is False


def test_what_does_not_stop_is_not_masked(host, call):
    call("a")
    host.set("a", habit="drains:1000")
    result = call(masked=["a"], stop_timeout=1)
    assert result["failed"] and "a has not stopped after 1 seconds" in result["msg"]
    assert not host.file("a").is_symlink()


def test_content_without_its_digest_is_refused(host, call):
    result = call({"name": "a", "content": "[Service]\nExecStart=/x\n"}, check=True)
    assert result["failed"] and "no line Environment=AIRFLOW_UNIT_DIGEST=@digest@" in result["msg"]


def test_alias_in_the_place_of_a_unit(host, call):
    call("api-server")
    host.file("webserver").symlink_to("api-server.service")
    call("webserver")
    assert not host.file("webserver").is_symlink()
    assert host.file("api-server").read_text() == host.file("webserver").read_text()


def test_missing_deployment(host, call, tmp_path):
    more = {"config": str(tmp_path / "airflow.cfg")}
    assert call("a", check=True, **more)["changed"] is True
    result = call("a", **more)
    assert result["failed"] and "--tags user,python,install,config" in result["msg"]
    assert host.log() == [] and not host.file("a").exists()


def test_absent(host, call):
    call("a", "b")
    drop_in = host.directory / "b.service.d"
    drop_in.mkdir()
    (drop_in / "override.conf").write_text("[Service]\n")
    host.log()
    result = call("a", absent=["b", "never"], check=True)
    assert result["changed"] is True and lists(result) == {"removed": ["b"]}
    assert result["diff"][0]["before"].startswith("[Service]") and result["diff"][0]["after"] == ""
    assert host.log() == []
    result = call("a", absent=["b", "never"])
    assert result["changed"] is True and lists(result) == {"removed": ["b"]}
    assert host.log() == ["disable b", "stop b", "daemon-reload"]
    assert not host.file("b").exists() and (drop_in / "override.conf").exists()
    result = call("a", absent=["b", "never"])
    assert result["changed"] is False and host.log() == []


def test_absent_after_a_run_that_was_killed(host, call):
    call("a", "b", "c")
    airflow_service.systemctl("disable", "b.service", "c.service")
    airflow_service.systemctl("stop", "b.service")
    host.file("b").unlink()
    # Removed by hand while it ran.
    host.file("c").unlink()
    airflow_service.systemctl("daemon-reload")
    pid = host.units()["c"]["pid"]
    assert lists(call("a", absent=["b", "c"])) == {"removed": ["c"]}
    assert host.units()["c"]["active"] == "inactive" and not os.path.exists(f"/proc/{pid}")
    assert call("a", absent=["b", "c"])["changed"] is False


def test_absent_worker_that_drains_for_hours(host, call):
    call("a", "w")
    host.set("w", habit="drains:1000")
    host.log()
    result = call("a", absent=["w"], stop_timeout=0)
    assert result.get("failed") is None and lists(result) == {"stopping": ["w"]}
    assert host.file("w").exists() and "stop w" in host.log()
    host.set("w", habit="drains:3")
    assert lists(call("a", absent=["w"])) == {"removed": ["w"]}
    assert not host.file("w").exists()


def test_absent_and_failed(host, call):
    call("b")
    host.stop()
    host.set("b", active="failed", pid=0)
    host.log()
    assert lists(call(absent=["b"])) == {"removed": ["b"]}
    # A stop does not clear a failure, which would be listed for ever.
    assert host.log() == ["disable b", "stop b", "reset-failed b", "daemon-reload"]


def test_absent_and_masked(host, call):
    host.file("b").symlink_to("/dev/null")
    assert call(absent=["b"], check=True)["changed"] is False
    assert call(absent=["b"])["changed"] is False
    assert host.file("b").is_symlink()


def test_unit_that_fails(host, call):
    host.set("a", habit="fails")
    result = call("a", timeout=300)
    assert result["failed"] and "a is not healthy after 0 seconds: it failed" in result["msg"]
    assert "these were its last words" in result["msg"] and result["written"] == ["a"]


def test_unit_that_never_comes_up(host, call):
    call("a")
    host.set("a", habit="drains:100000")
    result = call("a", restart="all", timeout=1, stop_timeout=0)
    assert result["failed"] and "after 1 seconds: it is deactivating (sub)" in result["msg"]


@pytest.mark.parametrize("verb, changed", [("show", False), ("disable", True), ("daemon-reload", True)])
def test_systemctl_that_fails(host, call, verb, changed):
    call("a", "b")
    host.refuses = verb
    result = call("a", absent=["b"])
    assert result["failed"] and "failed: no bus" in result["msg"] and result["changed"] is changed


@pytest.mark.parametrize("kind", ["api", "port", "job", "worker"])
def test_health_needs_its_arguments(host, call, kind):
    result = call(declared("a", health={"kind": kind}), check=True)
    assert result["failed"] and f"kind is {kind} but all of the following are missing" in result["msg"]


def test_health_page_is_waited_for(host, call):
    answers = iter(["starting", '{"metadatabase": {"status": "unhealthy"}}'])

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = next(answers, '{"metadatabase": {"status": "healthy"}}').encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)
            asked.append(self.path)

        def log_message(self, *arguments):
            pass

    asked = []
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        health = {"kind": "api", "port": server.server_address[1], "path": "/health"}
        assert lists(call(declared("a", health=health))) == {"written": ["a"], "started": ["a"]}
        assert asked == ["/health"] * 3
        server.shutdown()
    result = call(declared("a", health=health), restart="all", timeout=1, stop_timeout=0)
    assert result["failed"] and "no answer on port" in result["msg"]
