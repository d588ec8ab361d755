# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module tells an Alertmanager. How a run keeps its silence is shown by the scenario monitoring."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import threading

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_silence

BEGIN = "2026-11-24T12:00:00.000Z"


@pytest.fixture
def alertmanager():
    """A server that takes silences, and writes down what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            asked.append((self.command, self.path, json.loads(self.rfile.read(length) or "null")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"silenceID": "7f", "startsAt": BEGIN}).encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(capsys):
    """The module's result."""

    def run(check=False, **arguments):
        with patch_module_args(dict(arguments, _ansible_check_mode=check)), contextlib.suppress(SystemExit):
            airflow_silence.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_a_silence_lasts_for_its_lease(alertmanager, run):
    url, asked = alertmanager
    result = run(url=url, lease=90, comment="a run")
    assert (result["id"], result["changed"]) == ("7f", False)
    ((method, path, silence),) = asked
    assert (method, path) == ("POST", "/api/v2/silences")
    begin, end = (datetime.datetime.fromisoformat(silence[name]) for name in ("startsAt", "endsAt"))
    assert (end - begin).total_seconds() == 90
    assert abs((begin - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 60
    assert silence["matchers"] == [{"name": "deploy", "value": "silenced", "isRegex": False, "isEqual": True}]
    assert (silence["comment"], silence["createdBy"]) == ("a run", "dataops.airflow")
    assert "id" not in silence


def test_it_is_prolonged_and_ended_by_its_id(alertmanager, run):
    url, asked = alertmanager
    assert run(url=url + "/", id="7f")["id"] == "7f"
    assert run(url=url, id="7f", state="absent")["changed"] is False
    assert asked[0][:2] == ("GET", "/api/v2/silence/7f")
    # With another beginning Alertmanager would end it, and make another one.
    assert (asked[1][0], asked[1][2]["id"], asked[1][2]["startsAt"]) == ("POST", "7f", BEGIN)
    assert asked[2][:2] == ("DELETE", "/api/v2/silence/7f")


def test_check_mode_makes_none(alertmanager, run):
    url, asked = alertmanager
    assert run(check=True, url=url)["changed"] is False
    assert asked == []


def test_an_alertmanager_that_is_away_stops_nobody(run):
    result = run(url="http://127.0.0.1:1")
    assert result["id"] == ""
    assert "no silence: Alertmanager at http://127.0.0.1:1" in result["msg"]
    assert not result.get("failed")


def test_an_end_needs_to_know_of_what(run):
    assert run(url="http://127.0.0.1:1", state="absent")["failed"]


def test_labels_are_matched_as_text():
    p = {"matchers": {"b": 1, "a": "x"}, "lease": 1, "comment": "", "id": None}
    matchers = airflow_silence.silence(p, datetime.datetime.now(datetime.timezone.utc))["matchers"]
    assert [(found["name"], found["value"]) for found in matchers] == [("a", "x"), ("b", "1")]
