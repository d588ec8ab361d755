# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: record
type: aggregate
short_description: Records which tasks changed what
description:
  - For each run of a playbook, writes V(<playbook>-<n>.json) below E(BENCH_RECORD_DIRECTORY), or
    V(<playbook>-check-<n>.json) for a run in check mode. It holds the changed tasks and the summary of each host.
  - Beside it, C(.results) holds all that tasks returned, as the highest verbosity shows it, and C(.arguments) the
    arguments of all processes that were seen meanwhile on this machine. Processes in its containers are among them.
  - The run of molecule's C(create.yml) starts the numbers anew.
"""

import json
import os
import pathlib
import subprocess
import sys

from ansible import context
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.directory = pathlib.Path(os.environ.get("BENCH_RECORD_DIRECTORY", "."))
        self.playbook = "adhoc"
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

    def v2_runner_on_ok(self, result):
        self.results.append(result.result)
        if result.result.get("changed"):
            self.changed.append([result.host.get_name(), result.task.get_name()])

    def v2_playbook_on_stats(self, stats):
        name = self.playbook + ("-check" if context.CLIARGS.get("check") else "")
        self.directory.mkdir(parents=True, exist_ok=True)
        number = len(list(self.directory.glob(name + "-[0-9]*.json"))) + 1
        record = {
            "changed": sorted(self.changed),
            "hosts": {host: stats.summarize(host) for host in sorted(stats.processed)},
        }
        path = self.directory / f"{name}-{number}.json"
        path.with_suffix(".results").write_text("".join(f"{result}\n" for result in self.results), encoding="utf-8")
        path.with_suffix(".arguments").write_bytes(self.sampler.communicate()[0])
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
