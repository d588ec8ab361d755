# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health, from real pages and ports, and from a database and a broker that are made up."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pwd
import socket
import sys
import threading
import time

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils import _health
from ansible_collections.dataops.airflow.plugins.module_utils._runner import Runner

HEALTHY = '{"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}'


@contextlib.contextmanager
def page(code, body):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    "code, body, trouble",
    [
        (200, HEALTHY.encode(), ""),
        # The content counts, not the code it comes with.
        (500, HEALTHY.encode(), ""),
        (200, b'{"metadatabase": {"status": "unhealthy"}}', "/health says the metadata database is unhealthy"),
        (200, b"<html>", "/health answers with code 200 and no health in it"),
        (404, b'{"detail": "Not Found"}', "/health answers with code 404 and no health in it"),
        (200, b'{"metadatabase": null}', "/health answers with code 200 and no health in it"),
        (200, b"[]", "/health answers with code 200 and no health in it"),
        (200, b"\xff\xfe", "/health answers with code 200 and no health in it"),
    ],
)
def test_page(code, body, trouble):
    with page(code, body) as port:
        assert _health.trouble({"kind": "api", "port": port, "path": "/health"}, {}, None) == trouble


def test_what_does_not_speak_http():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"220 mail\r\n"), daemon=True).start()
        found = _health.trouble({"kind": "api", "port": port, "path": "/"}, {}, None, timeout=2)
        assert found.startswith(f"no answer on port {port}:")


def test_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert _health.trouble({"kind": "port", "port": port, "address": "127.0.0.1"}, {}, None) == ""
    assert "nothing answers" in _health.trouble({"kind": "port", "port": port, "address": "127.0.0.1"}, {}, None)


SQLALCHEMY = """
import datetime, json, os

HERE = os.path.dirname(os.path.abspath(__file__))


def text(sql):
    return sql


class Connection:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __init__(self, dialect):
        self.dialect = dialect

    def execute(self, query, values=None):
        if values is None:
            assert (self.dialect, query) == ("mysql", "SET time_zone = '+00:00'")
            self.dialect = "set"
        else:
            assert self.dialect in ("postgresql", "set")
            self.values = values
        return self

    def fetchall(self):
        rows = json.load(open(os.path.join(HERE, "rows.json")))
        stamp = datetime.datetime.fromtimestamp
        zone = datetime.timezone.utc
        rows = [(r["beat"], r) for r in rows if (r["type"], r["host"]) == (self.values["type"], self.values["host"])]
        return [(None if b is None else stamp(b, zone) if r["aware"] else stamp(b, zone).replace(tzinfo=None),)
                for b, r in rows]


class Engine:
    def __init__(self, name):
        self.dialect = self
        self.name = name

    def connect(self):
        return Connection(self.name)


def create_engine(url):
    name, _, rest = url.partition("://")
    if name not in ("postgresql", "mysql") or rest != "a:p%w@h/d":
        raise RuntimeError("cannot connect to " + url)
    return Engine(name)
"""
CELERY = """
import json, os


class Celery:
    def __init__(self, broker):
        assert broker == "redis://:s3cret@h/0", broker
        self.conf = self.control = self

    def inspect(self, destination, timeout):
        self.destination = destination
        return self

    def stats(self):
        found = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "workers.json")))
        return {name: {"pid": pid} for name, pid in found.items() if name in self.destination} or None
"""
KOMBU = """
class Missing(Exception):
    pass


class Connection:
    channel_errors = (Missing,)

    def __init__(self, url):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def channel(self):
        return self

    def close(self):
        pass

    def queue_declare(self, queue, passive):
        if queue == "never":
            raise Missing
        self.message_count = 7
        return self
"""
CONFIG = """[core]
hostname_callable = here.name
[database]
sql_alchemy_conn_cmd = cat '{root}/sql%% conn'
[celery]
broker_url_cmd = cat {root}/broker
"""


class Release:
    """A made-up release: what its interpreter imports, and what that finds."""

    def __init__(self, root):
        self.root = root
        version = "python{}.{}".format(*sys.version_info[:2])
        self.packages = root / "venv" / "lib" / version / "site-packages"
        self.packages.mkdir(parents=True)
        (root / "venv" / "bin").mkdir()
        base = os.path.realpath(sys.executable)
        (root / "venv" / "bin" / "python").symlink_to(base)
        (root / "venv" / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\n")
        modules = {"sqlalchemy": SQLALCHEMY, "celery": CELERY, "kombu": KOMBU, "here": "def name(): return 'me'\n"}
        for name, text in modules.items():
            (self.packages / (name + ".py")).write_text(text)
        (root / "airflow.cfg").write_text(CONFIG.format(root=root))
        (root / "sql% conn").write_text("postgresql://a:p%w@h/d")
        (root / "broker").write_text("redis://:s3cret@h/0")
        user = pwd.getpwuid(os.geteuid()).pw_name
        self.runner = Runner(str(root / "venv"), "/tmp", str(root / "airflow.cfg"), user)
        self.started = time.time() - 100

    def job(self, *rows, **more):
        rows = [dict({"type": "SchedulerJob", "host": "me", "aware": True}, **row) for row in rows]
        (self.packages / "rows.json").write_text(json.dumps(rows))
        return self.ask(dict(kind="job", job_type="SchedulerJob"), **more)

    def worker(self, **workers):
        (self.packages / "workers.json").write_text(
            json.dumps({"celery@" + name: pid for name, pid in workers.items()})
        )
        return self.ask(dict(kind="worker", worker="w1"))

    def ask(self, health, **more):
        state = {"pid": 4711, "started": self.started}
        found = _health.trouble(health, state, self.runner, **more)
        assert "s3cret" not in found and "p%w" not in found
        return found


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path)


def test_heartbeats(release):
    now, before = time.time(), release.started - 1
    silent = "it has sent no heartbeat since it started"
    assert release.job({"beat": now - 3}) == ""
    assert release.job({"beat": now - 3, "aware": False}) == ""
    assert release.job({"beat": now - 60}) == "its last heartbeat is 60 seconds old"
    # A process that was killed leaves a row that says that it runs.
    assert release.job({"beat": before}) == silent
    assert release.job({"beat": None}) == silent
    assert release.job({"beat": now - 3, "host": "another"}) == silent
    assert release.job({"beat": now - 3, "type": "TriggererJob"}) == silent


def test_heartbeats_in_mysql(release):
    (release.root / "sql% conn").write_text("mysql://a:p%w@h/d")
    assert release.job({"beat": time.time(), "aware": False}) == ""


def test_heartbeats_of_airflow_1_10(release):
    (release.packages / "airflow" / "www_rbac").mkdir(parents=True)
    text = CONFIG.format(root=release.root).replace("hostname_callable = here.name\n[database]\n", "")
    (release.root / "airflow.cfg").write_text(text)
    assert release.job({"beat": time.time(), "host": socket.getfqdn()}) == ""
    (release.root / "airflow.cfg").write_text(text.replace("[core]", "[core]\nhostname_callable = here:name"))
    assert release.job({"beat": time.time()}) == ""


def test_heartbeats_after_the_clock_was_set(release):
    """The start of the process is counted from a boot that a new clock has moved."""
    now = time.time()
    release.started = now - 5
    assert release.job({"beat": now - 1}) == ""
    # Set back: what was written before lies in the future, and is no proof.
    assert release.job({"beat": now + 3600}).startswith("its last heartbeat is -3")


def test_patience(release):
    timer = threading.Timer(0.5, lambda: release_later.write_text(json.dumps([row])))
    release_later = release.packages / "rows.json"
    row = {"type": "SchedulerJob", "host": "me", "aware": True, "beat": time.time() + 1}
    timer.start()
    assert release.job(patience=20) == ""
    # What cannot be asked yet may be asked later.
    release_later.unlink()
    threading.Timer(0.5, lambda: release_later.write_text(json.dumps([row]))).start()
    assert release.ask(dict(kind="job", job_type="SchedulerJob"), patience=20) == ""


def test_workers(release):
    assert release.worker(w1=4711) == ""
    assert release.worker(w1=42) == "another process answers as celery@w1"
    assert release.worker(w2=4711) == "celery@w1 does not answer through the broker"


def test_one_program_asks_about_all(release, monkeypatch):
    release.job({"beat": time.time()})
    release.worker(w1=42)
    asked = {
        "scheduler": dict(kind="job", job_type="SchedulerJob"),
        "triggerer": dict(kind="job", job_type="TriggererJob"),
        "worker": dict(kind="worker", worker="w1"),
        "odd": dict(kind="job"),
        "proxy": dict(kind="port", port=1, address="127.0.0.1"),
    }
    runs = []
    python = release.runner.python
    monkeypatch.setattr(release.runner, "python", lambda *given, **more: runs.append(given) or python(*given, **more))
    state = {"pid": 4711, "started": release.started}
    found = _health.troubles({name: (health, state) for name, health in asked.items()}, release.runner)
    assert len(runs) == 1
    assert found.pop("proxy").startswith("nothing answers on port 1")
    assert found == {
        "scheduler": "",
        "triggerer": "it has sent no heartbeat since it started",
        "worker": "another process answers as celery@w1",
        "odd": "cannot ask about it: KeyError",
    }


def test_errors_keep_passwords_to_themselves(release):
    (release.root / "sql% conn").write_text("postgresql://a:s3cret@h/d")
    assert release.job() == "cannot ask about it: RuntimeError"
    (release.root / "sql% conn").unlink()
    assert release.job() == "cannot ask about it: CalledProcessError"
    (release.root / "airflow.cfg").write_text("[database\n")
    assert release.job() == "cannot ask about it: MissingSectionHeaderError"
    (release.root / "airflow.cfg").write_text("")
    assert release.job() == "cannot ask about it: KeyError"


def test_release_that_is_gone(release):
    (release.root / "venv" / "bin" / "python").unlink()
    assert "is not there: the release is not installed" in release.job()
    assert _health.queue_depths(["default"], release.runner) == {"default": None}


def test_queues(release):
    assert _health.queue_depths(["default", "never"], release.runner) == {"default": 7, "never": 0}
    (release.root / "broker").unlink()
    assert _health.queue_depths(["default"], release.runner) == {"default": None}
