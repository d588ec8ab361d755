# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Runs the canary DAGs through Airflow's REST API (version 2) and reads their logs back."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

NAME = "dataops_canary"
VARIABLE = "dataops_canary_workers"
BUNDLE = "dataops-canary"
TASK = "canary"
PASSED = "passed on "
FINISHED = ("success", "failed")
PAGE = 100


def dag_id_of(worker):
    return NAME + "__" + worker


def marker_of(run_id, worker):
    """What the canary task writes to its log."""
    return f"{NAME}: run {run_id} of worker {worker},"


class ApiError(Exception):
    """The API refused: trying again does not help."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class ApiUnavailable(ApiError):
    """No answer, or one that says to come back later."""


class Api:
    """Airflow's REST API, logged in as one user. Tries again until `deadline`, if asked to be patient."""

    def __init__(self, url, username, password, deadline, patient=True, validate_certs=True, ca_path=None):
        self.url = url.rstrip("/")
        self.username = username
        self._password = password
        self._token = None
        self.deadline = deadline
        self.patient = patient
        context = ssl.create_default_context(cafile=ca_path)
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # The API is asked directly: a proxy of the environment cannot reach a master's loopback address.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def left(self):
        return self.deadline - time.monotonic()

    def login(self):
        self._token = None
        try:
            answer = self._patiently("POST", "/auth/token", {"username": self.username, "password": self._password})
        except ApiError as error:
            if error.status is None or isinstance(error, ApiUnavailable):
                raise
            # The answer to a request that was not understood quotes it: the password must not get out that way.
            if error.status == 401:
                message = (
                    f"{self.url} does not accept the password of user {self.username} (HTTP 401): declare this user"
                    " with this password (dataops.airflow.airflow_users; update_password: always if it has another one)"
                )
            elif error.status in (404, 405):
                message = (
                    f"{self.url} gives no token to user {self.username} at /auth/token: the url must be the one of an"
                    " Airflow 3 API server with the FAB auth manager, with the path of [api] base_url if that has one"
                )
            else:
                message = f"{self.url} refuses to log in user {self.username} (HTTP {error.status})"
            raise ApiError(message, error.status) from None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not token:
            raise ApiError(f"{self.url}/auth/token answers without a token: is this Airflow's API server?")
        self._token = token

    def call(self, method, path, body=None, accept=()):
        """The answer's JSON; the status itself where it is one of `accept`."""
        if self._token is None:
            self.login()
        try:
            return self._patiently(method, "/api/v2" + path, body, accept)
        except ApiError as error:
            if error.status != 401:
                raise
        # A token may be configured to live for less time than the tasks take.
        self.login()
        return self._patiently(method, "/api/v2" + path, body, accept)

    def _patiently(self, method, path, body=None, accept=()):
        while True:
            try:
                return self._once(method, path, body, accept)
            except ApiUnavailable:
                if not self.patient or self.left() <= 1:
                    raise
            time.sleep(1)

    def _once(self, method, path, body, accept):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Accept", "application/json")
        if self._token is not None:
            request.add_header("Authorization", "Bearer " + self._token)
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, data, timeout=max(1.0, min(30.0, self.left()))) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
            if status in accept:
                return status
            if status >= 500 or status == 429:
                raise ApiUnavailable(f"{self.url} answers HTTP {status} to {path}", status) from None
            if status == 403:
                message = (
                    f"user {self.username} may not {method} {path} (HTTP 403): the canary needs the role Op or Admin"
                )
            else:
                message = f"{self.url} answers HTTP {status} to {method} {path}: {detail(text)}"
            raise ApiError(message, status) from None
        except ssl.SSLError as error:
            raise ApiError(f"no TLS with {self.url}: {error}") from None
        except (OSError, urllib.error.URLError, socket.timeout) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLError):
                raise ApiError(f"no TLS with {self.url}: {reason}") from None
            raise ApiUnavailable(f"cannot reach {self.url}: {reason}") from None
        except Exception as error:
            # http.client says so when a server goes away in the middle of its answer.
            raise ApiUnavailable(f"{self.url} broke off: {type(error).__name__}") from None
        if not text.strip():
            return None
        try:
            return json.loads(text.decode())
        except ValueError:
            raise ApiError(f"{self.url} answers {method} {path} with something else than JSON") from None


def detail(text):
    """The reason in the body of a refusal."""
    try:
        reason = json.loads(text.decode())["detail"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        return "no reason given"
    return reason if isinstance(reason, str) else json.dumps(reason)[:500]


class Worker:
    """One worker on its way through the canary."""

    def __init__(self, name, deployment):
        self.name = name
        self.deployment = deployment
        self.dag_id = dag_id_of(name)
        self.state = "pending"
        self.step = "dag"
        self.run_id = None
        self.hostname = None
        self.duration = None
        self.log_read = False
        self.reason = None
        self.passed_deployment = None
        self.task = None
        self.run_state = None
        self.run_after = None
        self.log_until = None
        self.log_problem = None

    def fail(self, reason):
        self.state, self.step, self.reason = "failed", "end", reason

    def take(self, run, state):
        """The worker passed in `run`."""
        self.state, self.step, self.log_read = state, "end", True
        self.run_id = run["dag_run_id"]
        self.duration = run.get("duration")
        self.hostname = run["note"][len(PASSED) :] or None

    def result(self):
        return dict(
            state=self.state,
            run_id=self.run_id,
            hostname=self.hostname,
            duration=self.duration,
            log_read=self.log_read,
            deployment=self.deployment,
            reason=self.reason,
        )


class Canary:
    """Proves that each worker runs tasks, and that their logs can be read."""

    def __init__(self, api, workers, unit="airflow-worker", interval=1.0, log_patience=15.0):
        self.api = api
        self.workers = [Worker(item["name"], item["deployment"]) for item in workers]
        self.unit = unit
        self.interval = interval
        self.log_patience = log_patience
        self.purged = []
        self._old_runs = {}
        self._reparse_at = 0.0
        self._dags_seen = False

    # Reading

    def read(self, everyone):
        """Finds who passed with the deployment it has now, and returns who has to run."""
        by_dag = {worker.dag_id: worker for worker in self.workers}
        newest = {}
        for run in self._runs(by_dag, ["success"]):
            if not has_passed(run):
                continue
            known = newest.get(run["dag_id"])
            if known is None or (run.get("run_after") or "") > (known.get("run_after") or ""):
                newest[run["dag_id"]] = run
        todo = []
        for worker in self.workers:
            run = newest.get(worker.dag_id)
            if run is not None:
                worker.passed_deployment = (run.get("conf") or {}).get("deployment")
            if run is None or everyone or worker.passed_deployment != worker.deployment:
                todo.append(worker)
                continue
            worker.take(run, "current")
        return todo

    def _runs(self, dag_ids, states=None):
        """Every run of the DAGs, the newest first, in as few requests as the API's page size allows."""
        body = dict(dag_ids=sorted(dag_ids), order_by="-id", page_limit=PAGE, page_offset=0)
        if states:
            body["states"] = states
        while True:
            answer = self.api.call("POST", "/dags/~/dagRuns/list", body)
            yield from answer["dag_runs"]
            body["page_offset"] += len(answer["dag_runs"])
            if not answer["dag_runs"] or body["page_offset"] >= (answer.get("total_entries") or 0):
                return

    def _dags(self):
        """The canary DAGs that Airflow knows, by DAG id."""
        found = {}
        offset = 0
        while True:
            query = dict(dag_id_pattern=NAME, limit=PAGE, offset=offset, order_by="dag_id", exclude_stale="false")
            answer = self.api.call("GET", "/dags?" + urllib.parse.urlencode(query))
            found.update((dag["dag_id"], dag) for dag in answer["dags"])
            offset += len(answer["dags"])
            if not answer["dags"] or offset >= answer["total_entries"]:
                return found

    # Running

    def run(self, todo):
        """Runs the canary on all of `todo` at once."""
        try:
            while True:
                if any(worker.step == "dag" for worker in todo):
                    self._trigger([worker for worker in todo if worker.step == "dag"])
                if any(worker.step == "run" for worker in todo):
                    self._follow([worker for worker in todo if worker.step == "run"])
                for worker in todo:
                    if worker.step == "log":
                        self._read_log(worker)
                if all(worker.step == "end" for worker in todo):
                    break
                if self.api.left() <= 0:
                    break
                time.sleep(max(0.0, min(self.interval, self.api.left())))
        except ApiUnavailable as error:
            for worker in todo:
                if worker.step != "end":
                    worker.fail(str(error))
            return
        # What follows does not wait for anything, but it does need an answer.
        self.api.deadline = time.monotonic() + 15
        for worker in todo:
            if worker.step != "end":
                self._explain(worker)
        for worker in todo:
            self._tidy(worker)

    def _trigger(self, waiting):
        """Starts the run of every worker whose DAG is there, and sees to it that the other DAGs come to be."""
        changed = self._declare([worker.name for worker in waiting])
        dags = self._dags()
        self._dags_seen = NAME in dags
        absent = []
        for worker in waiting:
            dag = dags.get(worker.dag_id)
            if dag is None or dag.get("is_stale") or dag.get("has_import_errors"):
                absent.append(worker)
                continue
            if dag.get("is_paused"):
                self.api.call("PATCH", f"/dags/{quote(worker.dag_id)}", dict(is_paused=False))
            run_id = time.strftime("canary__%Y%m%dT%H%M%SZ__", time.gmtime()) + os.urandom(4).hex()
            body = dict(
                dag_run_id=run_id, logical_date=None, conf=dict(worker=worker.name, deployment=worker.deployment)
            )
            # 409: an answer got lost on its way, the run is there. 404: the DAG has just become stale.
            if self.api.call("POST", f"/dags/{quote(worker.dag_id)}/dagRuns", body, accept=(409, 404)) == 404:
                absent.append(worker)
                continue
            worker.run_id = run_id
            worker.step = "run"
        if absent and NAME in dags and (changed or time.monotonic() >= self._reparse_at):
            self._parse(dags[NAME])
            self._reparse_at = time.monotonic() + 10

    def _parse(self, dag):
        """Has the dag processor parse the file of `dag` before any other."""
        # 409: somebody has asked already.
        self.api.call("PUT", "/parseDagFile/" + quote(dag["file_token"]), accept=(409,))

    def _declare(self, names, drop=()):
        """Adds `names` to the Variable that the canary DAG file reads, whatever else is in it."""
        path = "/variables/" + VARIABLE
        answer = self.api.call("GET", path, accept=(404,))
        before = None
        if answer != 404:
            try:
                before = [str(name) for name in json.loads(answer["value"])]
            except (ValueError, TypeError):
                before = []
        after = sorted((set(before or []) | set(names)) - set(drop))
        if before is not None and sorted(before) == after and answer["value"]:
            return False
        body = dict(
            key=VARIABLE,
            value=json.dumps(after),
            description="The workers that have a canary DAG. dataops.airflow.airflow_canary keeps it.",
        )
        if answer == 404:
            self.api.call("POST", "/variables", body, accept=(409,))
        else:
            self.api.call("PATCH", path, body)
        return True

    def _follow(self, running):
        """Finds which runs have ended."""
        by_run = {(worker.dag_id, worker.run_id): worker for worker in running}
        states = {}
        for run in self._runs({worker.dag_id for worker in running}):
            worker = by_run.get((run["dag_id"], run["dag_run_id"]))
            if worker is None:
                self._old_runs.setdefault(run["dag_id"], {})[run["dag_run_id"]] = run
            else:
                states[worker.name] = run
        for worker in running:
            run = states.get(worker.name)
            if run is None:
                self._replaced(worker)
                continue
            worker.duration = run.get("duration")
            worker.run_after = run.get("run_after") or ""
            if run["state"] not in FINISHED:
                continue
            worker.task = self._task(worker)
            worker.hostname = worker.task.get("hostname") or None
            worker.step = "log"
            worker.run_state = run["state"]
            worker.log_until = time.monotonic() + self.log_patience

    def _replaced(self, worker):
        """Takes over the pass of a newer run, whose maker has removed the one of this call."""
        for run in self._old_runs.get(worker.dag_id, {}).values():
            if has_passed(run) and (run.get("conf") or {}).get("deployment") == worker.deployment:
                worker.take(run, "passed")
                return
        worker.fail(f"its run {worker.run_id} was deleted by somebody else: run this again")

    def _task(self, worker):
        path = f"{run_path(worker.dag_id, worker.run_id)}/taskInstances/{TASK}"
        answer = self.api.call("GET", path, accept=(404,))
        return {} if answer == 404 else answer

    def _log(self, worker):
        """The lines of the task's log, as the API gives them."""
        attempt = max(1, worker.task.get("try_number") or 1)
        path = f"{run_path(worker.dag_id, worker.run_id)}/taskInstances/{TASK}/logs/{attempt}?full_content=true"
        answer = self.api.call("GET", path, accept=(404,))
        if answer == 404:
            return []
        content = answer.get("content") or []
        if isinstance(content, str):
            return content.splitlines()
        return [line_of(entry) for entry in content]

    def _read_log(self, worker):
        """Passes the worker if the log has the line of this very run."""
        try:
            lines = self._log(worker)
        except ApiUnavailable as error:
            lines = [str(error)]
        # Markers of groups, and where the log came from, say nothing.
        text = [line for line in lines if line and not line.startswith("::") and not line.endswith(".log")]
        worker.log_read = any(marker_of(worker.run_id, worker.name) in line for line in text)
        if worker.run_state == "success" and worker.log_read:
            self.api.call("PATCH", run_path(worker.dag_id, worker.run_id), dict(note=PASSED + (worker.hostname or "")))
            worker.state, worker.step = "passed", "end"
            return
        if worker.run_state == "success":
            worker.log_problem = last(text) or "the log is empty"
            if time.monotonic() < worker.log_until:
                return
            self._explain(worker)
            return
        ended = worker.task.get("state") or "failed"
        lines = last(text) or "(none)"
        worker.fail(f"the task ended {ended} on {worker.hostname or 'no host'}. Its last lines: {lines}")

    def _explain(self, worker):
        """Says why the worker did not get to the end."""
        if worker.step == "dag":
            worker.fail(self._why_no_dag(worker))
        elif worker.step == "log":
            host = worker.hostname
            worker.fail(
                f"the task ran on {host}, but the API at {self.api.url} could not read its log back:"
                f" {worker.log_problem}. Check that the masters resolve and reach {host} on port 8793 ([logging]"
                " worker_log_server_port), that all nodes have the same [api] secret_key, and that their clocks agree"
                " (remote logging: that the bucket can be read)"
            )
        else:
            self._explain_run(worker)

    def _explain_run(self, worker):
        queue = NAME + "." + worker.name
        try:
            worker.task = self._task(worker)
            # A run that nobody waits for any more must not start hours later.
            self.api.call("PATCH", run_path(worker.dag_id, worker.run_id), dict(state="failed"))
        except ApiError as error:
            worker.fail(f"its run did not end in time, and {error}")
            return
        worker.hostname = worker.task.get("hostname") or None
        state = worker.task.get("state")
        if state in ("queued", "restarting"):
            worker.fail(
                f"no worker took the task from the queue {queue}: on {worker.name} look at systemctl status {self.unit}"
                f" and journalctl -u {self.unit}; the worker must run with this queue in --queues, reach the broker,"
                " and have a free slot ([celery] worker_concurrency)"
            )
        elif state == "running":
            worker.fail(f"the task is still running on {worker.hostname or 'a worker'} when the time is up")
        else:
            worker.fail(
                f"the scheduler has not queued the task (it is {state or 'not scheduled'}): check that a scheduler is"
                " alive and reaches the broker, and that default_pool and [core] parallelism have room"
            )

    def _why_no_dag(self, worker):
        reason = f"its DAG {worker.dag_id} did not appear: "
        try:
            answer = self.api.call("GET", f"/importErrors?limit={PAGE}")
            for error in answer["import_errors"]:
                if os.path.basename(error.get("filename") or "") == NAME + ".py":
                    text = [line for line in (error.get("stack_trace") or "").splitlines() if line.strip()]
                    return reason + f"{error['filename']} cannot be imported: {last(text)}"
        except ApiError as error:
            return reason + str(error)
        if not self._dags_seen:
            return reason + (
                f"the DAG processor has not parsed {NAME}.py at all. Check that it runs, and that [dag_processor]"
                f" dag_bundle_config_list has the bundle {BUNDLE}"
            )
        return reason + f"the DAG processor has not parsed {NAME}.py again. Check that it runs"

    def _tidy(self, worker):
        """Leaves the newest passed run, and what is needed to see why one did not pass."""
        runs = [
            run
            for run in self._old_runs.get(worker.dag_id, {}).values()
            if run["state"] in FINISHED and (run.get("run_after") or "") < (worker.run_after or "")
        ]
        if worker.state != "passed":
            passed = [run for run in runs if has_passed(run)]
            if passed:
                runs.remove(max(passed, key=lambda run: run.get("run_after") or ""))
        for run in runs:
            try:
                self.api.call("DELETE", run_path(worker.dag_id, run["dag_run_id"]), accept=(404, 409))
            except ApiUnavailable:
                # The proof is made: what is left over goes with the next run.
                return

    # Leaving

    def unlisted(self):
        """The workers that the Variable names and the inventory does not."""
        answer = self.api.call("GET", "/variables/" + VARIABLE, accept=(404,))
        if answer == 404:
            return []
        try:
            declared = {str(name) for name in json.loads(answer["value"])}
        except (ValueError, TypeError):
            return []
        return sorted(declared - {worker.name for worker in self.workers})

    def purge(self, names):
        """Removes the DAGs and runs of workers that are gone."""
        self._declare([], drop=names)
        dags = self._dags()
        if NAME in dags:
            self._parse(dags[NAME])
        for name in names:
            # 409: its task is running right now.
            self.api.call("DELETE", f"/dags/{quote(dag_id_of(name))}", accept=(404, 409))
        self.purged = list(names)


def has_passed(run):
    """Whether the run ended well and its log was read: without the note, nobody has."""
    return run["state"] == "success" and (run.get("note") or "").startswith(PASSED)


def line_of(entry):
    """One log entry as a line; an exception with its type and text."""
    if not isinstance(entry, dict):
        return str(entry)
    line = str(entry.get("event") or "")
    for problem in entry.get("error_detail") or []:
        if isinstance(problem, dict):
            line += f" {problem.get('exc_type')}: {problem.get('exc_value')}"
    return line


def run_path(dag_id, run_id):
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"


def quote(part):
    return urllib.parse.quote(part, safe="")


def last(lines, count=3):
    return " | ".join(line.strip() for line in lines[-count:])[-1000:]
