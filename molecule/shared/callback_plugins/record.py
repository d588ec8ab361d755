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
  - The run of molecule's C(create.yml) starts the numbers anew.
"""

import json
import os
import pathlib

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

    def v2_playbook_on_start(self, playbook):
        self.playbook = pathlib.Path(playbook._file_name).stem
        if self.playbook == "create":
            for old in self.directory.glob("*.json"):
                old.unlink()

    def v2_runner_on_ok(self, result):
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
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
