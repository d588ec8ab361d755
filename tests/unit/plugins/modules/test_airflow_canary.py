# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The canary against a small HTTP server that behaves like Airflow's API where the module looks."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _canary
from ansible_collections.dataops.airflow.plugins.modules import airflow_canary

PASSWORD = "hunter2-secret"
TOKEN = "token-of-admin"


class Airflow:
    """What the API knows. `outcome` says, by worker, how its canary task goes."""

    def __init__(self):
        self.requests = []
        self.variable = None
        self.dags = {"dataops_canary": self.dag("dataops_canary")}
        self.processor = True
        self.import_errors = []
        self.runs = []
        self.outcome = {}
        self.logs = {}
        self.answers = []
        self.expire_tokens_after = None
        self.counter = 0

    @staticmethod
    def dag(dag_id):
        return {
            "dag_id": dag_id,
            "is_paused": False,
            "is_stale": False,
            "has_import_errors": False,
            "file_token": "tok/" + dag_id,
        }

    def add_run(self, worker, state="success", deployment="d1", note="passed on old", run_id=None, conf=None):
        self.counter += 1
        run = {
            "id": self.counter,
            "dag_id": "dataops_canary__" + worker,
            "dag_run_id": run_id or f"old{self.counter}",
            "state": state,
            "conf": conf or {"worker": worker, "deployment": deployment},
            "note": note,
            "duration": 1.5,
            "run_after": f"2026-11-22T00:00:00.{self.counter:06d}Z",
        }
        self.runs.append(run)
        self.dags.setdefault(run["dag_id"], self.dag(run["dag_id"]))
        return run

    def parse(self):
        if self.processor:
            for name in self.variable or []:
                self.dags.setdefault("dataops_canary__" + name, self.dag("dataops_canary__" + name))

    # Each method answers (status, body)

    def handle(self, method, path, query, body, headers):
        self.requests.append((method, path))
        if self.answers:
            return self.answers.pop(0)
        if path == "/auth/token":
            if body["username"] == "ghost" or body["password"] != PASSWORD:
                return 401, {"detail": "Invalid credentials", "input": body}
            return 201, {"access_token": TOKEN}
        if headers.get("Authorization") != "Bearer " + TOKEN:
            return 401, {"detail": "no"}
        if self.expire_tokens_after is not None:
            self.expire_tokens_after -= 1
            if self.expire_tokens_after < 0:
                self.expire_tokens_after = None
                return 401, {"detail": "expired"}
        path = path[len("/api/v2") :]
        for pattern, handler in (
            (r"/variables/dataops_canary_workers", self.on_variable),
            (r"/variables", self.on_variables),
            (r"/dags", self.on_dags),
            (r"/dags/~/dagRuns/list", self.on_list),
            (r"/dags/([^/]+)", self.on_dag),
            (r"/dags/([^/]+)/dagRuns", self.on_trigger),
            (r"/dags/([^/]+)/dagRuns/([^/]+)", self.on_run),
            (r"/dags/([^/]+)/dagRuns/([^/]+)/taskInstances/canary", self.on_task),
            (r"/dags/([^/]+)/dagRuns/([^/]+)/taskInstances/canary/logs/1", self.on_log),
            (r"/parseDagFile/tok%2Fdataops_canary", self.on_parse),
            (r"/importErrors", self.on_import_errors),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                return handler(method, query, body, *[urllib.parse.unquote(part) for part in match.groups()])
        raise AssertionError(f"nobody asked for {method} {path}")

    def on_variable(self, method, _query, body):
        if self.variable is None:
            return 404, {"detail": "no such variable"}
        if method == "PATCH":
            self.variable = json.loads(body["value"])
        value = self.variable if isinstance(self.variable, str) else json.dumps(self.variable)
        return 200, {"key": "dataops_canary_workers", "value": value}

    def on_variables(self, method, _query, body):
        assert method == "POST"
        self.variable = json.loads(body["value"])
        return 201, body

    def on_dags(self, _method, query, _body):
        names = sorted(self.dags)[int(query["offset"]) :][: int(query["limit"])]
        return 200, {"dags": [self.dags[name] for name in names], "total_entries": len(self.dags)}

    def on_dag(self, method, _query, body, dag_id):
        if method == "DELETE":
            if dag_id not in self.dags:
                return 404, {"detail": "no such dag"}
            del self.dags[dag_id]
            self.runs = [run for run in self.runs if run["dag_id"] != dag_id]
            return 204, None
        self.dags[dag_id].update(body)
        return 200, self.dags[dag_id]

    def on_trigger(self, method, _query, body, dag_id):
        assert method == "POST" and body["logical_date"] is None
        if self.dags[dag_id]["is_paused"]:
            raise AssertionError("a paused DAG never runs")
        worker = dag_id.split("__", 1)[1]
        if self.outcome.get(worker) == "vanishing dag":
            self.outcome[worker] = "pass"
            return 404, {"detail": "not found"}
        self.add_run(worker, state="queued", note=None, run_id=body["dag_run_id"], conf=body["conf"])
        if self.outcome.get(worker) == "lost answer":
            return 409, {"detail": "there already"}
        return 200, {}

    def on_list(self, _method, _query, body):
        for run in self.runs:
            outcome = self.outcome.get(run["dag_id"].split("__", 1)[1], "pass")
            if run["state"] == "queued" and not run["dag_run_id"].startswith("old"):
                if outcome in ("pass", "lost answer", "no log", "late log", "api gone"):
                    run["state"] = "success"
                elif outcome in ("fail", "fail silently"):
                    run["state"] = "failed"
        worker = body["dag_ids"][0].split("__", 1)[1]
        if self.outcome.get(worker) in ("deleted", "replaced"):
            mine = [run for run in self.runs if run["dag_run_id"].startswith("canary__") and worker in run["dag_id"]]
            if mine and self.outcome[worker] == "replaced":
                self.add_run(worker, deployment="d2", note="passed on other", run_id="newer")
            self.runs = [run for run in self.runs if run not in mine]
        runs = [run for run in self.runs if run["dag_id"] in body["dag_ids"]]
        if body.get("states"):
            runs = [run for run in runs if run["state"] in body["states"]]
        runs.sort(key=lambda run: -run["id"])
        page = runs[body["page_offset"] :][: body["page_limit"]]
        return 200, {"dag_runs": page, "total_entries": len(runs)}

    def find(self, dag_id, run_id):
        return next(run for run in self.runs if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id))

    def on_run(self, method, _query, body, dag_id, run_id):
        run = self.find(dag_id, run_id)
        if method == "DELETE":
            assert run["state"] in ("success", "failed")
            self.runs.remove(run)
            return 204, None
        run.update(body)
        return 200, run

    def on_task(self, _method, _query, _body, dag_id, _run_id):
        outcome = self.outcome.get(dag_id.split("__", 1)[1], "pass")
        state = {"fail": "failed", "fail silently": "failed", "queued": "queued", "running": "running"}.get(outcome)
        if outcome == "unscheduled":
            return 404, {"detail": "not found"}
        host = None if outcome == "queued" else "host-of-" + dag_id.split("__", 1)[1]
        return 200, {"state": state or "success", "hostname": host, "try_number": 1}

    def on_log(self, _method, _query, _body, dag_id, run_id):
        worker = dag_id.split("__", 1)[1]
        outcome = self.outcome.get(worker, "pass")
        if outcome == "no log":
            return 200, {"content": [{"event": "Could not read served logs: 403 Forbidden"}]}
        if outcome == "late log":
            self.outcome[worker] = "pass"
            return 404, {"detail": "not yet"}
        if outcome == "fail silently":
            return 200, {"content": ""}
        line = f"dataops_canary: run {run_id} of worker {worker}, deployment x, ran on h"
        if outcome == "fail":
            detail = [{"exc_type": "OSError", "exc_value": "no space left"}]
            content = [
                {"event": "::group::"},
                {"event": "http://h:8793/log/a.log"},
                "started",
                {"event": "Task failed", "error_detail": detail},
            ]
            return 200, {"content": content}
        if worker == "text":
            return 200, {"content": "first\n" + line}
        return 200, {"content": [{"event": "::group::"}, {"event": line}]}

    def on_parse(self, method, _query, _body):
        assert method == "PUT"
        self.parse()
        return 201, None

    def on_import_errors(self, _method, _query, _body):
        return 200, {"import_errors": self.import_errors}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        split = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        try:
            status, answer = self.server.airflow.handle(
                self.command, split.path, dict(urllib.parse.parse_qsl(split.query)), body, self.headers
            )
        except Exception as error:
            self.server.problems.append(repr(error))
            raise
        if status is None:
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def airflow(monkeypatch):
    """A running API; time passes a hundred times faster between the module's questions."""
    real = time.sleep
    monkeypatch.setattr(_canary.time, "sleep", lambda seconds: real(seconds / 100))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.airflow = Airflow()
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
def call(capsys):
    """Calls the module, and makes sure that no secret gets out of it."""

    def run(airflow, names, deployment="d2", check=False, **more):
        arguments = {
            "url": airflow.url,
            "username": "admin",
            "password": PASSWORD,
            "timeout": 20,
            "workers": [{"name": name, "deployment": deployment} for name in names],
            "_ansible_check_mode": check,
        }
        arguments.update(more)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_canary.main()
        text = capsys.readouterr().out
        assert PASSWORD not in text and TOKEN not in text
        return json.loads(text)

    return run


def paths(airflow, method):
    return [path for verb, path in airflow.requests if verb == method]


def test_no_op_costs_two_requests_for_any_number_of_workers(airflow, call):
    names = [f"w{number}" for number in range(90)]
    for name in names:
        airflow.add_run(name, deployment="d2", note="passed on host-" + name)
    result = call(airflow, names)
    assert result["changed"] is False
    assert result["workers"]["w7"] == {
        "state": "current",
        "run_id": "old8",
        "hostname": "host-w7",
        "duration": 1.5,
        "log_read": True,
        "deployment": "d2",
        "reason": None,
    }
    assert airflow.requests == [("POST", "/auth/token"), ("POST", "/api/v2/dags/~/dagRuns/list")]
    assert result["diff"]["before"] == result["diff"]["after"]


def test_more_runs_than_a_page_holds(airflow, call):
    names = [f"w{number}" for number in range(150)]
    for name in names:
        airflow.add_run(name, deployment="d2")
    assert call(airflow, names)["changed"] is False
    assert len(airflow.requests) == 3


def test_new_cluster_all_at_once(airflow, call):
    result = call(airflow, ["w2", "w1", "text"])
    assert result["changed"] is True
    assert {name: worker["state"] for name, worker in result["workers"].items()} == dict.fromkeys(
        ["w1", "w2", "text"], "passed"
    )
    assert result["workers"]["w1"]["hostname"] == "host-of-w1"
    assert result["workers"]["w1"]["log_read"] is True
    assert airflow.variable == ["text", "w1", "w2"]
    assert [run["note"] for run in airflow.runs] == [
        "passed on host-of-w2",
        "passed on host-of-w1",
        "passed on host-of-text",
    ]
    assert airflow.runs[0]["conf"] == {"worker": "w2", "deployment": "d2"}
    assert result["diff"] == {
        "before": {"w1": None, "w2": None, "text": None},
        "after": {"w1": "d2", "w2": "d2", "text": "d2"},
    }
    airflow.requests.clear()
    assert call(airflow, ["w2", "w1", "text"])["changed"] is False


def test_only_those_with_another_deployment_run_and_old_runs_go(airflow, call):
    airflow.variable = ["w1", "w2", "w9"]
    airflow.add_run("w1", state="failed", note=None)
    airflow.add_run("w1", deployment="d1")
    airflow.add_run("w2", deployment="d2")
    airflow.add_run("w1", state="queued", note=None)
    result = call(airflow, ["w1", "w2"])
    assert {name: worker["state"] for name, worker in result["workers"].items()} == {"w1": "passed", "w2": "current"}
    assert sorted(run["dag_run_id"][:6] for run in airflow.runs) == ["canary", "old3", "old4"]
    assert airflow.variable == ["w1", "w2", "w9"]
    assert "PUT" not in [method for method, _path in airflow.requests]


def test_a_success_whose_log_nobody_read_does_not_count(airflow, call):
    airflow.variable = ["w1"]
    airflow.add_run("w1", deployment="d2", note=None)
    result = call(airflow, ["w1"])
    assert result["changed"] is True and result["workers"]["w1"]["state"] == "passed"


def test_mode_all(airflow, call):
    airflow.variable = ["w1"]
    airflow.add_run("w1", deployment="d2")
    airflow.add_run("w1", deployment="d2")
    result = call(airflow, ["w1"], mode="all")
    assert result["changed"] is True and result["workers"]["w1"]["state"] == "passed"
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("variable", ["not json", "5"])
def test_a_broken_variable_is_replaced(airflow, call, variable):
    airflow.variable = variable
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"
    assert airflow.variable == ["w1"]


def test_a_paused_dag_is_resumed(airflow, call):
    airflow.dags["dataops_canary__w1"] = dict(Airflow.dag("dataops_canary__w1"), is_paused=True)
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"


@pytest.mark.parametrize("outcome", ["lost answer", "late log", "vanishing dag"])
def test_hiccups(airflow, call, outcome):
    airflow.outcome["w1"] = outcome
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"


def test_check_mode_reads_and_writes_nothing(airflow, call):
    airflow.add_run("w1", deployment="d2")
    result = call(airflow, ["w1", "w2"], check=True)
    assert result["changed"] is True
    assert {name: worker["state"] for name, worker in result["workers"].items()} == {"w1": "current", "w2": "pending"}
    assert len(airflow.requests) == 2


def test_check_mode_on_a_bare_cluster(airflow, call):
    for more in (
        {"url": f"http://127.0.0.1:{unused_port()}"},
        {"username": "ghost"},
    ):
        result = call(airflow, ["w1"], check=True, **more)
        assert result["changed"] is True and "msg" not in result and "warnings" not in result
        assert result["workers"]["w1"]["state"] == "pending"
    airflow.answers = [(404, {"detail": "?"})]
    assert call(airflow, ["w1"], check=True)["changed"] is True
    airflow.answers = [(403, None)]
    assert call(airflow, ["w1"], check=True)["failed"] is True


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_unreachable(airflow, call):
    result = call(airflow, ["w1"], url=f"http://127.0.0.1:{unused_port()}", timeout=1)
    assert result["failed"] is True and result["changed"] is False
    assert "cannot reach http://127.0.0.1" in result["msg"] and "refused" in result["msg"]


def test_wrong_password_names_the_user(airflow, call):
    result = call(airflow, ["w1"], username="ghost")
    assert result["failed"] is True
    assert "user ghost (HTTP 401)" in result["msg"] and "airflow_users" in result["msg"]
    assert paths(airflow, "POST") == ["/auth/token"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}), "FAB auth manager"),
        ((405, None), "FAB auth manager"),
        ((422, {"detail": [{"input": PASSWORD}]}), "refuses to log in user admin (HTTP 422)"),
        ((200, {}), "without a token"),
        ((200, b"<html>"), "something else than JSON"),
        ((200, None), "without a token"),
    ],
)
def test_not_an_airflow(airflow, call, answer, message):
    airflow.answers = [answer]
    result = call(airflow, ["w1"])
    assert result["failed"] is True and message in result["msg"]


@pytest.mark.parametrize("answer", [(503, b"no server is available"), (429, None), (None, None)])
def test_patience(airflow, call, answer):
    airflow.answers = [answer, answer]
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"


def test_a_token_that_expires_is_renewed(airflow, call):
    airflow.expire_tokens_after = 3
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"
    assert paths(airflow, "POST").count("/auth/token") == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, {"detail": "Forbidden"}), "user admin may not POST /api/v2/dags/~/dagRuns/list (HTTP 403)"),
        ((400, {"detail": "bad thing"}), "HTTP 400 to POST /api/v2/dags/~/dagRuns/list: bad thing"),
        ((422, {"detail": [{"loc": "x"}]}), 'HTTP 422 to POST /api/v2/dags/~/dagRuns/list: [{"loc": "x"}]'),
        ((400, b"?"), "no reason given"),
    ],
)
def test_refusals(airflow, call, answer, message):
    airflow.answers = [(201, {"access_token": TOKEN}), answer]
    result = call(airflow, ["w1"])
    assert result["failed"] is True and message in result["msg"]


@pytest.mark.parametrize(
    ("outcome", "parts"),
    [
        (
            "queued",
            ["no worker took the task from the queue dataops_canary.w1", "systemctl status my-unit", "--queues"],
        ),
        ("running", ["still running on host-of-w1"]),
        ("unscheduled", ["the scheduler has not queued the task (it is not scheduled)"]),
        ("deleted", ["was deleted by somebody else"]),
        ("fail", ["ended failed on host-of-w1", "started | Task failed OSError: no space left"]),
        ("fail silently", ["Its last lines: (none)"]),
        (
            "no log",
            ["403 Forbidden", "resolve and reach host-of-w1 on port 8793", "same [api] secret_key", "clocks agree"],
        ),
    ],
)
def test_failures_say_why(airflow, call, monkeypatch, outcome, parts):
    monkeypatch.setattr(_canary.Canary.__init__, "__defaults__", ("airflow-worker", 1.0, 0.1))
    airflow.outcome["w1"] = outcome
    airflow.variable = ["w1", "w2"]
    airflow.add_run("w1", deployment="d0", note="passed on older")
    airflow.add_run("w1", deployment="d1", note="passed on old")
    airflow.add_run("w1", state="failed", note=None)
    airflow.add_run("w2", deployment="d1")
    result = call(airflow, ["w1", "w2"], timeout=1, unit="my-unit")
    assert result["failed"] is True and result["changed"] is True
    assert result["msg"].startswith("The canary did not pass on 1 of 2 workers. w1: ")
    for part in parts:
        assert part in result["msg"]
    assert result["workers"]["w2"]["state"] == "passed"
    assert result["diff"]["after"] == {"w1": "d1", "w2": "d2"}
    left = [run for run in airflow.runs if run["dag_id"].endswith("w1")]
    if outcome != "deleted":
        assert [run["dag_run_id"][:6] for run in left] == ["old2", "canary"]
        # It must not start hours later.
        assert left[1]["state"] == ("success" if outcome == "no log" else "failed")


def test_a_run_that_a_newer_pass_replaced(airflow, call):
    airflow.outcome["w1"] = "replaced"
    result = call(airflow, ["w1"])
    assert result["workers"]["w1"]["state"] == "passed" and result["workers"]["w1"]["run_id"] == "newer"


def test_no_dag_processor(airflow, call):
    airflow.processor = False
    result = call(airflow, ["w1"], timeout=1)
    assert result["failed"] is True and result["changed"] is False
    assert "has not parsed dataops_canary.py again" in result["msg"]
    assert paths(airflow, "PUT") == ["/api/v2/parseDagFile/tok%2Fdataops_canary"]


def test_no_bundle(airflow, call):
    airflow.dags = {}
    result = call(airflow, ["w1"], timeout=1)
    assert "dag_bundle_config_list has the bundle dataops-canary" in result["msg"]


def test_import_error(airflow, call):
    airflow.processor = False
    airflow.import_errors = [
        {"filename": "users.py", "stack_trace": "nothing of ours"},
        {"filename": "dataops_canary.py", "stack_trace": "Traceback\n\nNameError: x\n"},
    ]
    result = call(airflow, ["w1"], timeout=1)
    assert "dataops_canary.py cannot be imported: Traceback | NameError: x" in result["msg"]


def test_a_dag_with_import_errors_is_not_run(airflow, call):
    airflow.dags["dataops_canary__w1"] = dict(Airflow.dag("dataops_canary__w1"), has_import_errors=True)
    assert call(airflow, ["w1"], timeout=1)["workers"]["w1"]["state"] == "failed"


def test_the_api_goes_away(airflow, call, monkeypatch):
    original = airflow.handle

    def handle(method, path, *rest):
        return (503, None) if path.endswith("/list") and airflow.runs else original(method, path, *rest)

    monkeypatch.setattr(airflow, "handle", handle)
    result = call(airflow, ["w1"], timeout=2)
    assert result["failed"] is True and result["changed"] is True
    assert "answers HTTP 503" in result["workers"]["w1"]["reason"]


def test_purge(airflow, call):
    airflow.variable = ["w1", "w8", "w9"]
    for name in airflow.variable:
        airflow.add_run(name, deployment="d2")
    result = call(airflow, ["w1"], purge=True, check=True)
    assert result["changed"] is True and result["purged"] == ["w8", "w9"]
    assert airflow.variable == ["w1", "w8", "w9"]
    assert result["diff"]["before"] == {"w1": "d2", "w8": "declared", "w9": "declared"}
    result = call(airflow, ["w1"], purge=True)
    assert result["changed"] is True and result["purged"] == ["w8", "w9"]
    assert airflow.variable == ["w1"]
    assert sorted(airflow.dags) == ["dataops_canary", "dataops_canary__w1"]
    result = call(airflow, ["w1"], purge=True)
    assert result["changed"] is False and result["purged"] == []


@pytest.mark.parametrize("variable", [None, "not json"])
def test_purge_without_a_variable(airflow, call, variable):
    airflow.variable = variable
    airflow.add_run("w1", deployment="d2")
    assert call(airflow, ["w1"], purge=True)["changed"] is False


def test_purge_of_all(airflow, call):
    airflow.variable = ["w1"]
    assert call(airflow, [], purge=True)["purged"] == ["w1"]


def test_no_workers(airflow, call):
    assert call(airflow, [])["changed"] is False
    assert airflow.requests == []


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a b"], "no name for a worker"), (["x" * 201], "no name"), (["w1", "w1"], "w1 is listed twice")],
)
def test_bad_names(airflow, call, names, message):
    result = call(airflow, names)
    assert result["failed"] is True and message in result["msg"]
    assert airflow.requests == []


def test_tls(airflow, call, tmp_path):
    https = airflow.url.replace("http:", "https:")
    result = call(airflow, ["w1"], url=https, validate_certs=False)
    assert "no TLS with https://" in result["msg"]
    result = call(airflow, ["w1"], url=https, ca_path=str(tmp_path / "none.pem"))
    assert "ca_path: cannot read" in result["msg"]


def test_a_proxy_in_the_environment_is_not_asked(airflow, call, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    assert call(airflow, ["w1"])["workers"]["w1"]["state"] == "passed"
