# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What the canary wants from an API server or web server, in the words of each Airflow generation.

Version 2 of the REST API is that of Airflow 3, version 1 that of Airflow 2. Airflow 1.10 has none that is open by
default; what the lists and buttons of its user interface call does the same.
"""

from __future__ import annotations

import datetime
import html
import json
import os
import re
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
PAGE = 100
DESCRIPTION = "The workers that have a canary DAG. dataops.airflow.airflow_canary keeps it."


class ApiError(Exception):
    """The API refused: trying again does not help."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class ApiUnavailable(ApiError):
    """No answer, or one that says to come back later."""


class Stay(urllib.request.HTTPRedirectHandler):
    """Lets a redirection be the answer."""

    def redirect_request(self, *_arguments, **_options):
        return None


class Answer:
    """What a server said to a request that it understood."""

    def __init__(self, request, status, headers, content):
        self.request = request
        self.status = status
        self.headers = headers
        self.text = content.decode("utf-8", "replace")

    def json(self):
        if not self.text.strip():
            return None
        try:
            return json.loads(self.text)
        except ValueError:
            raise ApiError(f"{self.request} is answered with something else than JSON", self.status) from None


class Api:
    """Requests of one user. Tries again until `deadline`, if asked to be patient."""

    prefix = ""
    handlers = ()
    # What messages call things.
    secret_key = "[webserver] secret_key"
    log_port = "[logging] worker_log_server_port"
    parser = "the scheduler (or a DAG processor of its own)"
    has_file = f"PYTHONPATH in its environment has the directory of the plugin that adds {NAME}.py to its files"

    def __init__(self, url, username, password, deadline, patient=True, validate_certs=True, ca_path=None):
        self.url = url.rstrip("/")
        self.username = username
        self._password = password
        self._logged_in = False
        self.deadline = deadline
        self.patient = patient
        context = ssl.create_default_context(cafile=ca_path)
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # The API is asked directly: a proxy of the environment cannot reach a master's loopback address.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            *[handler() for handler in self.handlers],
        )

    def left(self):
        return self.deadline - time.monotonic()

    # How a dialect logs in, what each request carries, and how its answer says that it has to do so again.

    def login(self):
        raise NotImplementedError

    def headers(self):
        return {}

    @staticmethod
    def is_stranger(answer):
        return answer.status == 401

    def call(self, method, path, body=None, accept=(), form=None, accepts="application/json"):
        """The answer; an error where it says no, and not with a status that is one of `accept`."""
        options = dict(body=body, form=form, accepts=accepts)
        for _attempt in (1, 2):
            # A session may be configured to live for less time than the tasks take.
            if not self._logged_in:
                self.login()
                self._logged_in = True
            answer = self.patiently(method, self.prefix + path, **options)
            if not self.is_stranger(answer):
                break
            self._logged_in = False
        if answer.status in accept or answer.status < 400 and not self.is_stranger(answer):
            return answer
        raise self.refusal(answer)

    def refusal(self, answer):
        if answer.status == 403:
            return ApiError(
                f"user {self.username} may not {answer.request} (HTTP 403): the canary needs the role Op or Admin", 403
            )
        return ApiError(
            f"{self.url} answers HTTP {answer.status} to {answer.request}: {detail(answer.text)}", answer.status
        )

    def patiently(self, method, path, **options):
        while True:
            try:
                return self.once(method, path, **options)
            except ApiUnavailable:
                if not self.patient or self.left() <= 1:
                    raise
            time.sleep(1)

    def once(self, method, path, body=None, form=None, accepts="application/json"):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Accept", accepts)
        for name, value in self.headers().items():
            request.add_header(name, value)
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        elif form is not None:
            data = urllib.parse.urlencode(form).encode()
        what = f"{method} {path}"
        try:
            with self._opener.open(request, data, timeout=max(1.0, min(30.0, self.left()))) as answer:
                return Answer(what, answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
            if self.is_away(status, error.headers):
                raise ApiUnavailable(f"{self.url} answers HTTP {status} to {path}", status) from None
            return Answer(what, status, error.headers, text)
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

    @staticmethod
    def is_away(status, _headers):
        return status >= 500 or status == 429


def detail(text):
    """The reason in the body of a refusal."""
    try:
        reason = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
    return reason if isinstance(reason, str) else json.dumps(reason)[:500]


def quote(part):
    return urllib.parse.quote(part, safe="")


def run_path(dag_id, run_id):
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"


def names_in(text):
    """What a text in JSON names: elements of a list or an object; nothing if it is something else."""
    try:
        found = json.loads(text)
        return {str(name): found[name] if isinstance(found, dict) else None for name in found}
    except (ValueError, TypeError):
        return None


def seconds(start, end):
    """The seconds between two moments, where both are known."""
    try:
        first, last = (datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")) for moment in (start, end))
        return round((last - first).total_seconds(), 3)
    except (AttributeError, TypeError, ValueError):
        return None


class Rest(Api):
    """Version 2 of the REST API."""

    prefix = "/api/v2"
    secret_key = "[api] secret_key"
    parser = "the DAG processor"
    has_file = f"[dag_processor] dag_bundle_config_list has the bundle {BUNDLE}"
    all_dags = dict(exclude_stale="false")
    # What a run carries beside its name and configuration.
    run_options = dict(logical_date=None)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._token = None
        self._has_variable = False

    def headers(self):
        return {} if self._token is None else {"Authorization": "Bearer " + self._token}

    def login(self):
        self._token = None
        answer = self.patiently("POST", "/auth/token", body=dict(username=self.username, password=self._password))
        # The answer to a request that was not understood quotes it: the password must not get out that way.
        if answer.status == 401:
            raise ApiError(refused_password(self), 401)
        if answer.status in (404, 405):
            raise ApiError(
                f"{self.url} gives no token to user {self.username} at /auth/token: the url must be the one of an"
                " Airflow 3 API server with the FAB auth manager, with the path of [api] base_url if that has one",
                answer.status,
            )
        if answer.status >= 400:
            raise ApiError(f"{self.url} refuses to log in user {self.username} (HTTP {answer.status})", answer.status)
        found = answer.json()
        token = found.get("access_token") if isinstance(found, dict) else None
        if not token:
            raise ApiError(f"{self.url}/auth/token answers without a token: is this Airflow's API server?")
        self._token = token

    def runs(self, dag_ids, states=None):
        """Every run of the DAGs, the newest first, in as few requests as the API's page size allows."""
        body = dict(dag_ids=sorted(dag_ids), order_by="-id", page_limit=PAGE, page_offset=0)
        if states:
            body["states"] = states
        while True:
            answer = self.call("POST", "/dags/~/dagRuns/list", body).json()
            for run in answer["dag_runs"]:
                yield self.as_run(run)
            body["page_offset"] += len(answer["dag_runs"])
            if not answer["dag_runs"] or body["page_offset"] >= (answer.get("total_entries") or 0):
                return

    @staticmethod
    def as_run(run):
        return run

    def dags(self):
        """The canary DAGs that Airflow knows, by DAG id: whether they are paused, and whether they can run."""
        found = {}
        offset = 0
        while True:
            query = dict(dag_id_pattern=NAME, limit=PAGE, offset=offset, order_by="dag_id", **self.all_dags)
            answer = self.call("GET", "/dags?" + urllib.parse.urlencode(query)).json()
            for dag in answer["dags"]:
                usable = not dag.get("is_stale") and dag.get("is_active", True) and not dag.get("has_import_errors")
                found[dag["dag_id"]] = dict(paused=dag.get("is_paused"), usable=usable, token=dag.get("file_token"))
            offset += len(answer["dags"])
            if not answer["dags"] or offset >= answer["total_entries"]:
                return found

    def resume(self, dag_id):
        self.call("PATCH", f"/dags/{quote(dag_id)}", dict(is_paused=False))

    def start(self, dag_id, run_id, conf):
        """Makes a run, and says whether the DAG was there."""
        body = dict(dag_run_id=run_id, conf=conf, **self.run_options)
        # 409: an answer got lost on its way, the run is there. 404: the DAG has just become stale.
        return self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", body, accept=(409, 404)).status != 404

    def parse(self, dag):
        """Has the file of `dag` parsed before any other."""
        # 409: somebody has asked already.
        self.call("PUT", "/parseDagFile/" + quote(dag["token"]), accept=(409,))

    def declared(self):
        """The names in the Variable. Nothing if it is not there or cannot be read."""
        answer = self.call("GET", "/variables/" + VARIABLE, accept=(404,))
        self._has_variable = answer.status != 404
        return names_in(answer.json()["value"]) if self._has_variable else None

    def declare(self, names):
        """Writes the Variable that was read before."""
        body = dict(key=VARIABLE, value=json.dumps(sorted(names)), description=DESCRIPTION)
        if self._has_variable:
            self.call("PATCH", "/variables/" + VARIABLE, body)
        else:
            self.call("POST", "/variables", body, accept=(409,))

    def task(self, dag_id, run_id):
        answer = self.call("GET", f"{run_path(dag_id, run_id)}/taskInstances/{TASK}", accept=(404,))
        return {} if answer.status == 404 else answer.json()

    def log(self, dag_id, run_id, attempt):
        """The lines of the task's log."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{TASK}/logs/{attempt}?full_content=true"
        answer = self.call("GET", path, accept=(404,))
        if answer.status == 404:
            return []
        content = answer.json().get("content") or []
        return content.splitlines() if isinstance(content, str) else [line_of(entry) for entry in content]

    def mark(self, worker):
        """Puts down that the run passed."""
        self.call("PATCH", run_path(worker.dag_id, worker.run_id), dict(note=PASSED + (worker.hostname or "")))

    def stop(self, dag_id, run_id):
        self.call("PATCH", run_path(dag_id, run_id), dict(state="failed"))

    def delete_run(self, dag_id, run_id):
        self.call("DELETE", run_path(dag_id, run_id), accept=(404, 409))

    def delete_dag(self, dag_id):
        # 409: its task is running right now.
        self.call("DELETE", f"/dags/{quote(dag_id)}", accept=(404, 409))

    def import_error(self):
        """Why the canary's file cannot be imported, if so: the file, and the text."""
        for error in self.call("GET", f"/importErrors?limit={PAGE}").json()["import_errors"]:
            if os.path.basename(error.get("filename") or "") == NAME + ".py":
                return error["filename"], error.get("stack_trace") or ""
        return None


def line_of(entry):
    """One log entry as a line; an exception with its type and text."""
    if not isinstance(entry, dict):
        return str(entry)
    line = str(entry.get("event") or "")
    for problem in entry.get("error_detail") or []:
        if isinstance(problem, dict):
            line += f" {problem.get('exc_type')}: {problem.get('exc_value')}"
    return line


def refused_password(api):
    return (
        f"{api.url} does not accept the password of user {api.username} (HTTP 401): declare this user"
        " with this password (dataops.airflow.airflow_users; update_password: always if it has another one)"
    )


class Form(Api):
    """Logs in as a person does, and is known by the cookie from then on."""

    handlers = (Stay, urllib.request.HTTPCookieProcessor)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._csrf = None

    def headers(self):
        # With TLS, the form's token counts only for requests from one of the server's own pages.
        return {} if self._csrf is None else {"X-CSRFToken": self._csrf, "Referer": self.url + "/"}

    def login(self):
        self._csrf = None
        page = self.patiently("GET", "/login/", accepts="text/html")
        field = re.search(r"<input[^>]*\bname=\"csrf_token\"[^>]*>", page.text) if page.status == 200 else None
        value = re.search(r"\bvalue=\"([^\"]+)\"", field.group(0)) if field else None
        if value is None:
            raise ApiError(
                f"{self.url} has no form to log in with at /login/ (HTTP {page.status}): the url must be the one of an"
                " Airflow web server whose users are in its own database (on Airflow 1.10 with [webserver] rbac ="
                " True), with the path of [webserver] base_url if that has one",
                page.status if page.status >= 400 else None,
            )
        self._csrf = html.unescape(value.group(1))
        form = dict(username=self.username, password=self._password, csrf_token=self._csrf)
        answer = self.patiently("POST", "/login/", form=form, accepts="text/html")
        if answer.status != 302 or goes_to_login(answer):
            raise ApiError(refused_password(self), 401)


def goes_to_login(answer):
    target = urllib.parse.urlsplit(answer.headers.get("Location") or "").path
    return answer.status == 302 and target.rstrip("/").endswith("/login")


class Rest1(Form, Rest):
    """Version 1 of the REST API."""

    prefix = "/api/v1"
    secret_key = Api.secret_key
    parser = Api.parser
    has_file = Api.has_file
    all_dags = dict(only_active="false")
    run_options = {}

    def refusal(self, answer):
        if answer.status == 401:
            return ApiError(
                f"{self.url}{self.prefix} does not know the session of user {self.username} (HTTP 401): [api]"
                " auth_backends needs airflow.api.auth.backend.session",
                401,
            )
        return super().refusal(answer)

    @staticmethod
    def as_run(run):
        return dict(run, run_after=run["execution_date"], duration=seconds(run["start_date"], run["end_date"]))

    def log(self, dag_id, run_id, attempt):
        path = f"{run_path(dag_id, run_id)}/taskInstances/{TASK}/logs/{attempt}?full_content=true"
        answer = self.call("GET", path, accept=(404,), accepts="text/plain")
        return [] if answer.status == 404 else answer.text.splitlines()

    def mark(self, worker):
        note = dict(note=PASSED + (worker.hostname or ""))
        self.call("PATCH", run_path(worker.dag_id, worker.run_id) + "/setNote", note)


class Pages(Form):
    """The user interface of Airflow 1.10: lists and records as JSON, and the buttons.

    A run has no place for a note there. Who passed, and in which run, is in the Variable, beside the worker's name.
    """

    log_port = "[celery] worker_log_server_port"

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._dates = {}
        self._variable = None

    @staticmethod
    def is_stranger(answer):
        return answer.status == 401 or goes_to_login(answer)

    @staticmethod
    def is_away(status, headers):
        # What its records refuse comes with this code as well, and then in JSON.
        return Api.is_away(status, headers) and not (status == 500 and "json" in headers.get("Content-Type", ""))

    def refusal(self, answer):
        if self.is_stranger(answer):
            answer.status = 403
        return super().refusal(answer)

    def records(self, view, **filters):
        """The records of a view that fit, all on one page, each with its key."""
        query = {f"_flt_{comparison}_{name}": value for name, (comparison, value) in filters.items()}
        found = self.call("GET", f"/{view}/api/read?{urllib.parse.urlencode(query)}").json()
        return [dict(record, key_of_record=key) for key, record in zip(found["pks"], found["result"])]

    def runs(self, dag_ids, states=None):
        filters = dict(dag_id=(STARTS_WITH, NAME))
        if states:
            filters["state"] = (EQUALS, states[0])
        marks = self.declared() or {}
        for run in self.records("dagrun", **filters):
            if run["dag_id"] not in dag_ids:
                continue
            self._dates[run["dag_id"], run["run_id"]] = run["execution_date"]
            mark = marks.get(run["dag_id"][len(NAME) + 2 :]) or {}
            passed = mark.get("run_id") == run["run_id"]
            yield dict(
                dag_id=run["dag_id"],
                dag_run_id=run["run_id"],
                state=run["state"],
                conf=run["conf"],
                run_after=run["execution_date"],
                note=PASSED + (mark.get("hostname") or "") if passed else None,
                duration=mark.get("duration") if passed else None,
            )

    def dags(self):
        return {
            dag["dag_id"]: dict(paused=dag["is_paused"], usable=True)
            for dag in self.records("dagmodel", dag_id=(STARTS_WITH, NAME))
        }

    def resume(self, dag_id):
        # What it asks for is how things are, not how they are to be.
        query = urllib.parse.urlencode(dict(dag_id=dag_id, is_paused="true"))
        self.call("POST", "/paused?" + query, form={})

    def start(self, dag_id, run_id, conf):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        self._dates[dag_id, run_id] = now
        form = dict(
            dag_id=dag_id,
            run_id=run_id,
            state="running",
            execution_date=now,
            start_date=now,
            external_trigger="y",
            conf=json.dumps(conf),
        )
        answer = self.call("POST", "/dagrun/api/create", form=form, accept=(500,))
        # Where an answer got lost on its way, the run is there.
        if answer.status == 500 and not self.records("dagrun", run_id=(EQUALS, run_id)):
            raise ApiError(f"{self.url} does not make a run of {dag_id}: {answer.text.strip()[:500]}", 500)
        return True

    def parse(self, dag):
        """The scheduler does nothing else all day."""

    def declared(self):
        found = self.records("variable", key=(EQUALS, VARIABLE))
        self._variable = found[0] if found else None
        return names_in(found[0]["val"]) if found else None

    def declare(self, names):
        marks = self._variable and names_in(self._variable["val"]) or {}
        self.write({name: marks.get(name) for name in names})

    def write(self, marks):
        form = dict(key=VARIABLE, val=json.dumps(marks, sort_keys=True))
        if self._variable is None:
            answer = self.call("POST", "/variable/api/create", form=form, accept=(500,))
        else:
            path = "/variable/api/update/{}".format(self._variable["key_of_record"])
            answer = self.call("PUT", path, form=form, accept=(500,))
        if answer.status == 500:
            raise ApiError(f"{self.url} does not write the Variable {VARIABLE}: {answer.text.strip()[:500]}", 500)

    def mark(self, worker):
        marks = self.declared() or {}
        marks[worker.name] = dict(run_id=worker.run_id, hostname=worker.hostname, duration=worker.duration)
        self.write(marks)

    def task(self, dag_id, run_id):
        date = self._dates[dag_id, run_id]
        query = urllib.parse.urlencode(dict(dag_id=dag_id, execution_date=date))
        task = self.call("GET", "/object/task_instances?" + query).json().get(TASK) or {}
        # It tells the number of the attempt that would be the next. The run has had one.
        return dict(task, try_number=1, run_duration=seconds(date, task.get("end_date")))

    def log(self, dag_id, run_id, attempt):
        query = dict(
            dag_id=dag_id,
            task_id=TASK,
            execution_date=self._dates[dag_id, run_id],
            try_number=attempt,
            metadata="null",
        )
        answer = self.call("GET", "/get_logs_with_metadata?" + urllib.parse.urlencode(query)).json()
        message = answer.get("message") or ""
        return (message if isinstance(message, str) else "\n".join(str(part) for part in message)).splitlines()

    def stop(self, dag_id, run_id):
        form = dict(dag_id=dag_id, execution_date=self._dates[dag_id, run_id], confirmed="true")
        self.call("POST", "/dagrun_failed", form=form)

    def delete_run(self, dag_id, run_id):
        """Would leave the run's task behind. The next run deletes both, see dataops_canary.py."""

    def delete_dag(self, dag_id):
        self.call("POST", "/delete", form=dict(dag_id=dag_id))

    def import_error(self):
        page = html.unescape(self.call("GET", "/home", accepts="text/html").text)
        found = re.search(rf"Broken DAG: \[([^\]]*{NAME}\.py)\]\s*([^<]*)", page)
        return (found.group(1), found.group(2)) if found else None


# The comparisons that the filters of a list number, for texts.
STARTS_WITH = 0
EQUALS = 3

DIALECTS = {"v2": Rest, "v1": Rest1, "www_rbac": Pages}
