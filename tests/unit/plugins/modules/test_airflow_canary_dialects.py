# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canary against small HTTP servers that behave like those of Airflow 1.10 and 2 where the module looks."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _canary, _canary_api, _releases
from ansible_collections.dataops.airflow.plugins.modules import airflow_canary

PASSWORD = "s3cret & ü"
CSRF = "form&token"
FORM = '<form><input id="csrf_token" name="csrf_token" type="hidden" value="form&amp;token"></form>'
HOST = "host-of-w1"


class Web:
    """What both have: a form to log in with, DAGs, runs and a Variable. `outcome` says how each canary task goes."""

    def __init__(self):
        self.requests = []
        self.logins = 0
        self.session = None
        self.form = FORM
        self.variable = None
        self.runs = []
        self.deleted = []
        self.paused = set()
        self.outcome = "success"
        self.parses = True
        self.log_there = True
        self.answers = []

    def dags(self):
        names = list(json.loads(self.variable)) if self.variable and self.parses else []
        return ["dataops_canary"] + ["dataops_canary__" + name for name in names]

    def handle(self, method, path, query, text, headers):
        self.requests.append((method, path))
        form = dict(urllib.parse.parse_qsl(text))
        if path == "/login/":
            if method == "GET":
                return 200, {"Set-Cookie": "session=anonymous; Path=/"}, self.form
            assert headers["Cookie"] == "session=anonymous" and headers["Referer"]
            assert form["csrf_token"] == headers["X-CSRFToken"] == CSRF
            if (form["username"], form["password"]) != ("admin", PASSWORD):
                return 302, {"Location": "/login/?next=x"}, ""
            self.logins += 1
            self.session = f"session={self.logins}"
            return 302, {"Location": "/home", "Set-Cookie": self.session + "; Path=/"}, ""
        if self.session is None or headers.get("Cookie") != self.session:
            return self.stranger()
        if method != "GET":
            assert headers["X-CSRFToken"] == CSRF
        if self.answers:
            return self.answers.pop(0)
        return self.answer(method, path, query, form, text)

    def finish(self):
        for run in self.runs:
            if run["state"] in ("running", "queued") and self.outcome in ("success", "failed"):
                run["state"] = self.outcome

    def line(self, run_id):
        return (
            f"dataops_canary: run {run_id} of worker w1, deployment x, ran on h" if self.log_there else "403 Forbidden"
        )


class Airflow2(Web):
    """Version 1 of the REST API."""

    api = "v1"

    @staticmethod
    def stranger():
        return 401, {}, ""

    def answer(self, method, path, query, _form, text):
        assert path.startswith("/api/v1/")
        path = path[len("/api/v1") :]
        body = json.loads(text) if text else None
        status, answer = self.rest(method, path, query, body)
        return status, {}, answer if isinstance(answer, str) else json.dumps(answer)

    def rest(self, method, path, query, body):
        if path == "/dags/~/dagRuns/list":
            self.finish()
            runs = [run for run in self.runs if run["dag_id"] in body["dag_ids"]]
            runs = [run for run in runs if run["state"] in body.get("states", [run["state"]])][::-1]
            return 200, {"dag_runs": runs, "total_entries": len(runs)}
        if path == "/variables/dataops_canary_workers":
            if method == "PATCH":
                self.variable = body["value"]
            return (404, {}) if self.variable is None else (200, {"value": self.variable})
        if path == "/variables":
            self.variable = body["value"]
            return 200, {}
        if path == "/dags":
            assert query["only_active"] == "false"
            dags = [
                {"dag_id": name, "is_active": True, "is_paused": name in self.paused, "file_token": "t"}
                for name in self.dags()
            ]
            return 200, {"dags": dags, "total_entries": len(dags)}
        if path == "/importErrors":
            return 200, {"import_errors": [{"filename": "/c/dataops_canary.py", "stack_trace": "NameError: x"}]}
        if path == "/parseDagFile/t":
            return 201, ""
        parts = [urllib.parse.unquote(part) for part in path.split("/")]
        if method == "DELETE" and len(parts) == 3:
            self.deleted.append(parts[2])
            return 204, ""
        if len(parts) == 3:
            self.paused.discard(parts[2])
            return 200, {}
        if len(parts) == 4:
            assert "logical_date" not in body and parts[2] not in self.paused
            number = len(self.runs)
            self.runs.append(
                {
                    "dag_id": parts[2],
                    "dag_run_id": body["dag_run_id"],
                    "conf": body["conf"],
                    "note": None,
                    "state": "queued",
                    "execution_date": f"2026-11-24T10:00:{number:02}.000000+00:00",
                    "start_date": "2026-11-24T10:00:00.000000+00:00",
                    "end_date": "2026-11-24T10:00:02.500000+00:00",
                }
            )
            return 200, {}
        run = next(run for run in self.runs if run["dag_run_id"] == parts[4])
        if path.endswith("/setNote"):
            run["note"] = body["note"]
        elif "/logs/1" in path:
            return 200, f"INFO - ::group::source\n{self.line(run['dag_run_id'])}\nINFO - ::endgroup::\n"
        elif "/taskInstances/" in path:
            return 200, {"state": run["state"], "hostname": HOST, "try_number": 1}
        elif method == "DELETE":
            self.runs.remove(run)
        else:
            run.update(body)
        return 200, run


class Airflow1(Web):
    """The user interface of 1.10."""

    api = "www_rbac"

    @staticmethod
    def stranger():
        return 302, {"Location": "http://h/login/?next=x"}, ""

    def answer(self, method, path, query, form, _text):
        view = re.fullmatch(r"/(\w+)/api/read", path)
        if view:
            records = getattr(self, "read_" + view.group(1))(query)
            return 200, {}, json.dumps({"pks": list(range(len(records))), "result": records})
        answer = getattr(self, "on" + path.replace("/", "_"))(query, form)
        return (
            answer
            if isinstance(answer, tuple)
            else (200, {}, answer if isinstance(answer, str) else json.dumps(answer))
        )

    def read_variable(self, query):
        assert query == {"_flt_3_key": "dataops_canary_workers"}
        return [] if self.variable is None else [{"key": "dataops_canary_workers", "val": self.variable}]

    def read_dagmodel(self, query):
        assert query == {"_flt_0_dag_id": "dataops_canary"}
        return [{"dag_id": name, "is_paused": name in self.paused} for name in self.dags()]

    def read_dagrun(self, query):
        self.finish()
        if "_flt_3_run_id" in query:
            return [run for run in self.runs if run["run_id"] == query["_flt_3_run_id"]]
        return [run for run in self.runs if run["state"] == query.get("_flt_3_state", run["state"])]

    def on_variable_api_create(self, _query, form):
        self.variable = form["val"]
        return {}

    def on_variable_api_update_0(self, _query, form):
        assert form["key"] == "dataops_canary_workers"
        self.variable = form["val"]
        return {}

    def on_dagrun_api_create(self, _query, form):
        assert form["dag_id"] not in self.paused and form["state"] == "running"
        self.runs = [run for run in self.runs if run["state"] == "running" or run["dag_id"] != form["dag_id"]]
        run = {name: form[name] for name in ("dag_id", "run_id", "state", "execution_date")}
        self.runs.append(dict(run, conf=json.loads(form["conf"])))
        return {}

    def on_paused(self, query, _form):
        assert query["is_paused"] == "true"
        self.paused.discard(query["dag_id"])
        return "OK"

    def on_object_task_instances(self, query, _form):
        if self.outcome == "unscheduled":
            return {}
        run = next(run for run in self.runs if run["execution_date"] == query["execution_date"])
        state = run["state"] if self.outcome in ("success", "failed") else self.outcome
        end = query["execution_date"].replace("+00:00", "") + "+00:00"
        return {"canary": {"state": state, "hostname": HOST, "try_number": 2, "end_date": end}}

    def on_get_logs_with_metadata(self, query, _form):
        run = next(run for run in self.runs if run["execution_date"] == query["execution_date"])
        assert query["try_number"] == "1"
        text = "*** Fetching\n" + self.line(run["run_id"])
        return {"message": text if run["conf"]["deployment"] == "d1" else [text]}

    def on_dagrun_failed(self, _query, form):
        assert form["confirmed"] == "true"
        next(run for run in self.runs if run["execution_date"] == form["execution_date"])["state"] = "failed"
        return 302, {"Location": "/home"}, ""

    def on_delete(self, _query, form):
        self.deleted.append(form["dag_id"])
        return 302, {"Location": "/home"}, ""

    @staticmethod
    def on_home(_query, _form):
        return "<p>Broken DAG: [/c/dataops_canary.py] name &#39;x&#39; is not defined</p>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        split = urllib.parse.urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            status, headers, answer = self.server.airflow.handle(
                self.command, split.path, dict(urllib.parse.parse_qsl(split.query)), text, self.headers
            )
        except Exception as error:
            self.server.problems.append(repr(error))
            raise
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        data = answer.encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_arguments):
        pass


@pytest.fixture(params=[Airflow1, Airflow2], ids=["1.10", "2"])
def airflow(monkeypatch, request):
    """A running web server; time passes a hundred times faster between the module's questions."""
    real = time.sleep
    monkeypatch.setattr(_canary.time, "sleep", lambda seconds: real(seconds / 100))
    monkeypatch.setattr(_canary.Canary.__init__, "__defaults__", ("airflow-worker", 1.0, 0.1))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.airflow = request.param()
    server.problems = []
    server.airflow.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.airflow
    server.shutdown()
    server.server_close()
    thread.join()
    assert server.problems == []


@pytest.fixture
def call(airflow, capsys):
    def run(*names, deployment="d1", check=False, **more):
        arguments = {
            "url": airflow.url + "/",
            "api": airflow.api,
            "username": "admin",
            "password": PASSWORD,
            "timeout": 5,
            "workers": [{"name": name, "deployment": deployment} for name in names],
            "_ansible_check_mode": check,
        }
        arguments.update(more)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_canary.main()
        text = capsys.readouterr().out
        assert PASSWORD not in text and CSRF not in text
        return json.loads(text)

    return run


def test_every_release_has_a_dialect():
    assert {entry["api"] for entry in _releases.RELEASES} == set(_canary_api.DIALECTS)


def test_from_nothing_to_a_new_deployment(airflow, call):
    assert call("w1", check=True)["workers"]["w1"]["state"] == "pending"
    assert airflow.runs == [] and airflow.variable is None
    result = call("w1")
    assert result["changed"] is True
    worker = result["workers"]["w1"]
    assert (worker["state"], worker["hostname"], worker["log_read"]) == ("passed", HOST, True)
    assert list(json.loads(airflow.variable)) == ["w1"]
    again = call("w1")
    assert again["changed"] is False and again["workers"]["w1"] == dict(worker, state="current")
    airflow.paused.add("dataops_canary__w1")
    result = call("w1", deployment="d2")
    assert result["changed"] is True and result["workers"]["w1"]["state"] == "passed"
    assert result["diff"] == {"before": {"w1": "d1"}, "after": {"w1": "d2"}}
    assert len(airflow.runs) == 1


def test_a_session_that_ends_is_renewed(airflow, call, monkeypatch):
    original = airflow.answer

    def answer(*arguments):
        if len(airflow.requests) == 5:
            airflow.session = None
        return original(*arguments)

    monkeypatch.setattr(airflow, "answer", answer)
    assert call("w1")["workers"]["w1"]["state"] == "passed"
    assert airflow.logins == 2


def test_wrong_password(airflow, call):
    result = call("w1", password="wrong")
    assert result["failed"] is True and "does not accept the password of user admin (HTTP 401)" in result["msg"]
    assert call("w1", password="wrong", check=True)["changed"] is True


def test_no_form(airflow, call):
    airflow.form = "<html>"
    result = call("w1")
    assert result["failed"] is True and "has no form to log in with" in result["msg"]


@pytest.mark.parametrize(
    ("outcome", "parts"),
    [
        ("failed", ["the task ended failed on host-of-w1. Its last lines:"]),
        ("queued", ["no worker took the task from the queue dataops_canary.w1"]),
    ],
)
def test_failures(airflow, call, outcome, parts):
    airflow.outcome = outcome
    if airflow.api == "v1" and outcome == "queued":
        airflow.outcome = "still"
    result = call("w1", timeout=1)
    assert result["failed"] is True
    for part in parts:
        assert part in result["msg"]
    # It must not start hours later.
    assert airflow.runs[0]["state"] == "failed"
    airflow.outcome = "success"
    assert call("w1")["changed"] is True


def test_a_log_that_cannot_be_read(airflow, call):
    airflow.log_there = False
    result = call("w1", timeout=2)
    assert result["failed"] is True and "403 Forbidden" in result["msg"] and "[webserver] secret_key" in result["msg"]
    airflow.log_there = True
    assert call("w1", timeout=2)["changed"] is True


def test_a_file_that_cannot_be_imported(airflow, call):
    airflow.parses = False
    result = call("w1", timeout=1)
    assert result["failed"] is True and "/c/dataops_canary.py cannot be imported: " in result["msg"]


def test_purge(airflow, call):
    airflow.variable = '["w1", "w9"]'
    assert call("w1")["changed"] is True
    assert call("w1", purge=True)["purged"] == ["w9"]
    assert list(json.loads(airflow.variable)) == ["w1"] and airflow.deleted == ["dataops_canary__w9"]
    assert call("w1", purge=True)["changed"] is False


def test_a_refusal_of_the_user_interface(airflow, call):
    if airflow.api == "v1":
        airflow.answers = [(403, {}, "")]
        assert "may not POST /api/v1/dags/~/dagRuns/list (HTTP 403)" in call("w1")["msg"]
        return
    airflow.answers = [(401, {}, "")] * 2
    assert "the canary needs the role Op or Admin" in call("w1")["msg"]
    # What comes in JSON is an answer, anything else an outage.
    json_error = (500, {"Content-Type": "application/json"}, '{"message": "unique"}')
    airflow.answers = [(500, {}, "<html>")]
    assert call("w1")["changed"] is True
    airflow.variable = None
    airflow.answers = [(200, {}, '{"pks": [], "result": []}')] * 3 + [json_error]
    assert "does not write the Variable" in call("w1", deployment="d3")["msg"]
