# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a master: how long the helper takes to read the database's state, and how long Airflow itself."""

import json
import os
import sys
import time

sys.path.insert(0, "/root/probe/module_utils")
import _db_helper
import _runner

RELEASE = os.path.realpath("/opt/airflow/current/release")
CONFIG = os.path.realpath("/opt/airflow/current/airflow.cfg")
SOURCE = _db_helper.__loader__.get_source("_db_helper")
REQUEST = {
    "venv": RELEASE,
    "config": CONFIG,
    "check": False,
    "command": [],
    "minimum_servers": {"postgresql": "14"},
    "allow_unsupported": False,
    "timeout": 10,
    "parent": 0,
}
runner = _runner.Runner(RELEASE, "/var/lib/airflow", CONFIG)


def helper():
    assert runner.python(SOURCE, REQUEST)["state"] == "current"


def airflow():
    assert runner.airflow(["db", "check-migrations", "--migration-wait-timeout", "0"]).rc == 0


def seconds(call):
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


# They take turns, so that both see the same machine.
taken = [(min(seconds(helper) for _time in range(10)), seconds(airflow)) for _round in range(int(sys.argv[1]))]
print(json.dumps([min(times) for times in zip(*taken)]))
