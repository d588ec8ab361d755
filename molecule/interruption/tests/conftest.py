# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where runs are killed: at every boundary with BENCH_INTERRUPTIONS=all, else at a few places that the seed chooses.

Between two tasks a kill leaves what the tasks before it have made. Where a task changed nothing on any host and nothing
beside the inventory, the places before and after it leave the very same, and one stands for both: the later. So a run
is killed at the start of each task that changes something, and at the start of its last task. The moments within a task
have no end: the seed chooses some in those that change something and take long.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import random

import pytest

SEED = os.environ.get("BENCH_SEED") or datetime.date.today().isoformat()
ALL = os.environ.get("BENCH_INTERRUPTIONS") == "all"
REMEMBERED = os.environ.get("BENCH_REMEMBERED")
# A task that changes something and takes longer than these seconds may be killed in its middle as well.
LONG = 1
# So many of each run, where all interruptions are asked for.
MIDDLES = 3


def pytest_report_header():
    return f"interruptions: {'all' if ALL else 'a sample'}, BENCH_SEED={SEED}"


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: only where all interruptions are asked for")


class Kill:
    """The moment at which the controller dies: at the start of a task, or so many seconds after it."""

    def __init__(self, run, number, task, after):
        self.run = run
        self.number = number
        self.after = after
        self.id = f"{run}-{number}-{'middle' if after else 'start'}-{task.rpartition(' : ')[2].replace(' ', '_')}"


def kills(run):
    """All of one run, as it was recorded when nobody disturbed it."""
    record = pathlib.Path(os.environ["BENCH_RECORD_DIRECTORY"], f"{run}-1.json")
    started = json.loads(record.read_text())["started"]
    found = []
    for number, task in enumerate(started):
        if task["changed"] or number == len(started) - 1:
            found.append(Kill(run, number, task["task"], 0))
        if task["changed"] and task["seconds"] > LONG:
            part = random.Random(f"{SEED} {run} {number}").uniform(0.1, 0.6)
            found.append(Kill(run, number, task["task"], round(part * task["seconds"], 1)))
    return found


def boundaries_and_some_middles(run, chance):
    middles = [kill for kill in run if kill.after]
    chosen_ones = chance.sample(middles, min(MIDDLES, len(middles)))
    return [kill for kill in run if not kill.after or kill in chosen_ones]


def chosen():
    """What is at work for longer is what can be left half-done."""
    chance = random.Random(SEED)
    change, first = kills("side_effect"), kills("converge")
    if ALL:
        # The changes first: they need a cluster that works, and the first converges begin with bare hosts.
        return [kill for run in (change, first) for kill in boundaries_and_some_middles(run, chance)]
    return [
        chance.choice([kill for kill in change if not kill.after]),
        chance.choice([kill for kill in change if kill.after]),
        chance.choice([kill for kill in first if kill.after]),
    ]


def pytest_generate_tests(metafunc):
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", chosen(), ids=lambda kill: kill.id)


def memory(item):
    return pathlib.Path(REMEMBERED, f"interruption {item.name}".replace("/", "_"))


def pytest_collection_modifyitems(config, items):
    """What has passed on this very tree is not run again."""
    left = [
        item
        for item in items
        if (ALL or not item.get_closest_marker("thorough"))
        and not (ALL and REMEMBERED and "kill" in item.fixturenames and memory(item).exists())
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if ALL and REMEMBERED and call.when == "call" and report.passed:
        memory(item).touch()
    return report
