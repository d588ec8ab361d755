# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Runs the canary DAGs and reads their logs back, through an API server or web server."""

from __future__ import annotations

import os
import re
import time

from ._canary_api import NAME, PASSED, ApiError, ApiUnavailable

GROUP = re.compile("::(end)?group::")
FINISHED = ("success", "failed")


def dag_id_of(worker):
    return NAME + "__" + worker


def marker_of(run_id, worker):
    """What the canary task writes to its log."""
    return f"{NAME}: run {run_id} of worker {worker},"


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
        for run in self.api.runs(by_dag, ["success"]):
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
        dags = self.api.dags()
        self._dags_seen = NAME in dags
        absent = []
        for worker in waiting:
            dag = dags.get(worker.dag_id)
            if dag is None or not dag["usable"]:
                absent.append(worker)
                continue
            if dag["paused"]:
                self.api.resume(worker.dag_id)
            run_id = time.strftime("canary__%Y%m%dT%H%M%SZ__", time.gmtime()) + os.urandom(4).hex()
            if not self.api.start(worker.dag_id, run_id, dict(worker=worker.name, deployment=worker.deployment)):
                absent.append(worker)
                continue
            worker.run_id = run_id
            worker.step = "run"
        if absent and NAME in dags and (changed or time.monotonic() >= self._reparse_at):
            self.api.parse(dags[NAME])
            self._reparse_at = time.monotonic() + 10

    def _declare(self, names, drop=()):
        """Adds `names` to the Variable that the canary DAG file reads, whatever else is in it."""
        before = self.api.declared()
        after = (set(before or []) | set(names)) - set(drop)
        if before is not None and set(before) == after:
            return False
        self.api.declare(after)
        return True

    def _follow(self, running):
        """Finds which runs have ended."""
        by_run = {(worker.dag_id, worker.run_id): worker for worker in running}
        states = {}
        for run in self.api.runs({worker.dag_id for worker in running}):
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
            worker.task = self.api.task(worker.dag_id, worker.run_id)
            worker.hostname = worker.task.get("hostname") or None
            worker.duration = worker.duration or worker.task.get("run_duration")
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

    def _read_log(self, worker):
        """Passes the worker if the log has the line of this very run."""
        try:
            lines = self.api.log(worker.dag_id, worker.run_id, max(1, worker.task.get("try_number") or 1))
        except ApiUnavailable as error:
            lines = [str(error)]
        # Markers of groups, and where the log came from, say nothing.
        text = [line for line in lines if line and not GROUP.search(line) and not line.endswith(".log")]
        worker.log_read = any(marker_of(worker.run_id, worker.name) in line for line in text)
        if worker.run_state == "success" and worker.log_read:
            self.api.mark(worker)
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
                f" {worker.log_problem}. Check that the masters resolve and reach {host} on port 8793"
                f" ({self.api.log_port}), that all nodes have the same {self.api.secret_key}, and that their clocks"
                " agree (remote logging: that the bucket can be read)"
            )
        else:
            self._explain_run(worker)

    def _explain_run(self, worker):
        queue = NAME + "." + worker.name
        try:
            worker.task = self.api.task(worker.dag_id, worker.run_id)
            # A run that nobody waits for any more must not start hours later.
            self.api.stop(worker.dag_id, worker.run_id)
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
            broken = self.api.import_error()
        except ApiError as error:
            return reason + str(error)
        if broken:
            text = [line for line in broken[1].splitlines() if line.strip()]
            return reason + f"{broken[0]} cannot be imported: {last(text)}"
        if not self._dags_seen:
            return reason + (
                f"{self.api.parser} has not parsed {NAME}.py at all. Check that it runs, and that {self.api.has_file}"
            )
        return reason + f"{self.api.parser} has not parsed {NAME}.py again. Check that it runs"

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
                self.api.delete_run(worker.dag_id, run["dag_run_id"])
            except ApiUnavailable:
                # The proof is made: what is left over goes with the next run.
                return

    # Leaving

    def unlisted(self):
        """The workers that the Variable names and the inventory does not."""
        return sorted(set(self.api.declared() or []) - {worker.name for worker in self.workers})

    def purge(self, names):
        """Removes the DAGs and runs of workers that are gone."""
        self._declare([], drop=names)
        dags = self.api.dags()
        if NAME in dags:
            self.api.parse(dags[NAME])
        for name in names:
            self.api.delete_dag(dag_id_of(name))
        self.purged = list(names)


def has_passed(run):
    """Whether the run ended well and its log was read: without the note, nobody has."""
    return run["state"] == "success" and (run.get("note") or "").startswith(PASSED)


def last(lines, count=3):
    return " | ".join(line.strip() for line in lines[-count:])[-1000:]
