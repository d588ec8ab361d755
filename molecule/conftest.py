# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of every scenario share."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

# What tests of all kinds share, and the collection itself.
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / name) for name in ("tests", "collections")]


def pytest_configure(config):
    # One scenario may verify several times: each run leaves a report of its own.
    prefix = os.environ.get("BENCH_REPORT")
    if prefix and not config.option.xmlpath:
        number = 1
        while os.path.exists(f"{prefix}-{number}.xml"):
            number += 1
        config.option.xmlpath = f"{prefix}-{number}.xml"


def _refuse_skip(report):
    """A scenario makes its own hosts: nothing can be missing, so a test that does not run is a mistake."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"No test of a scenario may be skipped, and this one was: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _refuse_skip((yield))


class Records:
    """What each run of a playbook did, as the callback plugin `record` wrote it down."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def of(self, name):
        """The runs called `name` ("converge", "converge-check"), in their order."""
        return [json.loads(path.read_text()) for path in sorted(self.directory.glob(f"{name}-[0-9]*.json"))]

    def changed(self, name, run=0):
        """The changed tasks of one run, as lines "host: task"."""
        return sorted(f"{host}: {task}" for host, task in self.of(name)[run]["changed"])

    def files(self, kind):
        """What all runs left of one kind, "results" or "arguments"."""
        return sorted(self.directory.glob(f"*.{kind}"))


@pytest.fixture(scope="session")
def records():
    return Records(os.environ["BENCH_RECORD_DIRECTORY"])


class Run:
    """A finished run of ansible-playbook."""

    def __init__(self, finished, record):
        self.rc = finished.returncode
        self.output = finished.stdout
        self.changed = sorted(f"{host}: {task}" for host, task in record.get("changed", []))
        self.hosts = record.get("hosts", {})


@pytest.fixture(scope="session")
def secrets():
    """Every secret of the scenario's inventory by its name. Only their owner can read them."""
    folder = pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets"
    found = {path.name: path.read_text(encoding="utf-8").strip() for path in folder.iterdir()}
    assert found
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in folder.iterdir()} == dict.fromkeys(found, "0o0")
    return found


@pytest.fixture(scope="session")
def playbook(tmp_path_factory):
    """Runs a playbook by its name on the scenario's hosts: playbook("dataops.airflow.site", "--limit", "w1")."""

    def run(name, *arguments, inventories=(), kill_at=None, kill_after=0):
        directory = tmp_path_factory.mktemp("record")
        environment = dict(
            os.environ,
            ANSIBLE_CONFIG=os.environ["MOLECULE_EPHEMERAL_DIRECTORY"] + "/ansible.cfg",
            BENCH_RECORD_DIRECTORY=str(directory),
        )
        if kill_at is not None:
            environment.update(BENCH_KILL_AT=str(kill_at), BENCH_KILL_AFTER=str(kill_after))
        command = ["ansible-playbook", name, "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
        for inventory in inventories:
            command += ["-i", str(inventory)]
        finished = subprocess.run(
            command + list(arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(finished.stdout)
        written = list(directory.glob("*.json"))
        return Run(finished, json.loads(written[0].read_text()) if written else {})

    return run
