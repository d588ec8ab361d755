# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: record
type: aggregate
short_description: Records which tasks changed what, and kills the run at one of them
description:
  - For each run of a playbook, writes V(<playbook>-<n>.json) below E(BENCH_RECORD_DIRECTORY), or
    V(<playbook>-check-<n>.json) for a run in check mode. It holds the tasks that were started, with
    the seconds each took and whether it may have left anything different; the changed tasks; and the summary of each
    host.
  - A task may have left something different when it was changed or failed on any host, when files beside the inventory
    are not those that were there before it, and when its own word is not to be relied on, as it decides by
    C(changed_when), lets systemd read its files again, or renews apt's lists.
  - Beside it, C(.results) holds all that tasks returned, as the highest verbosity shows it, and C(.arguments) the
    arguments of all processes that were seen meanwhile on this machine. Processes in its containers are among them.
  - The run of molecule's C(create.yml) starts the numbers anew.
  - With E(BENCH_KILL_AT=<n>) the controller dies of SIGKILL when its task number n starts, the first being 0, or
    E(BENCH_KILL_AFTER) seconds after that. What runs on the hosts at that moment is not told, as when the
    controller's machine dies.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from ansible import context
from ansible.plugins.callback import CallbackBase


def kill_after(seconds):
    """Kills this process and all that it started, from a child: at once, or after so many seconds of the run."""
    controller = os.getpid()
    if os.fork():
        while not seconds:
            signal.pause()
        return
    time.sleep(seconds)
    if os.getppid() == controller:
        for process in [controller, *descendants(controller)]:
            if process != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
    os._exit(0)


def descendants(ancestor):
    """The children of a process and theirs: Ansible's own leave its process group."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [ancestor]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def may_have_changed(result):
    """Whether a task may have left something different on a host. Each of the latter does that without a word."""
    answer, task = result.result, result.task
    return bool(
        answer.get("changed") or answer.get("cache_updated") or task.changed_when or task.args.get("daemon_reload")
    )


def beside(inventories):
    """What tells whether files in the inventories' directories have changed: lookups write secrets there."""
    places = [pathlib.Path(path) for path in inventories]
    return {
        (str(path), status.st_mtime_ns, status.st_size)
        for place in places
        for path in (place if place.is_dir() else place.parent).rglob("*")
        if (status := path.lstat())
    }


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.directory = pathlib.Path(os.environ.get("BENCH_RECORD_DIRECTORY", "."))
        self.playbook = "adhoc"
        self.started = []
        # When each of them began, and which of them a host is at, by its name and that of the task.
        self.began = []
        self.at_work = {}
        self.beside = set()
        self.changed = []
        self.results = []
        self.sampler = None

    def v2_playbook_on_start(self, playbook):
        self.playbook = pathlib.Path(playbook._file_name).stem
        if self.playbook == "create":
            for old in self.directory.glob("*-[0-9]*.*"):
                old.unlink()
        script = pathlib.Path(__file__).parents[1] / "arguments.py"
        # A process of its own, which ends with this one: Ansible forks, and does not go well with threads.
        self.sampler = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.beside = beside(context.CLIARGS.get("inventory") or [])

    def _look_beside(self):
        """Lays what has changed beside the inventory to those tasks that may have done it."""
        now = beside(context.CLIARGS.get("inventory") or [])
        if now != self.beside:
            for task in self.started[-1:] + [self.started[number] for number in self.at_work.values()]:
                task["changed"] = True
        self.beside = now

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._look_beside()
        self.started.append({"task": task.get_name(), "seconds": 0, "changed": False})
        self.began.append(time.monotonic())
        if os.environ.get("BENCH_KILL_AT") == str(len(self.started) - 1):
            kill_after(float(os.environ.get("BENCH_KILL_AFTER", "0")))

    def v2_runner_on_start(self, host, task):
        # Where each host goes at its own pace, others start tasks before this one ends.
        self.at_work[host.get_name(), task._uuid] = len(self.started) - 1

    def _ended(self, result):
        """What is told of the task that has ended on a host."""
        number = self.at_work.pop((result.host.get_name(), result.task._uuid), len(self.started) - 1)
        self.started[number]["seconds"] = round(time.monotonic() - self.began[number], 1)
        return self.started[number]

    def v2_runner_on_skipped(self, result):
        self._ended(result)

    def v2_runner_on_ok(self, result):
        self.results.append(result.result)
        if result.result.get("changed"):
            self.changed.append([result.host.get_name(), result.task.get_name()])
        self._ended(result)["changed"] |= may_have_changed(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._ended(result)["changed"] = True

    v2_runner_on_unreachable = v2_runner_on_failed

    def v2_playbook_on_stats(self, stats):
        name = self.playbook + ("-check" if context.CLIARGS.get("check") else "")
        self.directory.mkdir(parents=True, exist_ok=True)
        number = len(list(self.directory.glob(name + "-[0-9]*.json"))) + 1
        self._look_beside()
        record = {
            "started": self.started,
            "changed": sorted(self.changed),
            "hosts": {host: stats.summarize(host) for host in sorted(stats.processed)},
        }
        path = self.directory / f"{name}-{number}.json"
        path.with_suffix(".results").write_text("".join(f"{result}\n" for result in self.results), encoding="utf-8")
        path.with_suffix(".arguments").write_bytes(self.sampler.communicate()[0])
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
