# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""playbooks/size.yml on this machine as a cluster of several hosts: what it writes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys

import pytest
import yaml
from controller import play

ROOT = pathlib.Path(__file__).resolve().parents[4]
CPUS = len(os.sched_getaffinity(0))


class Inventory:
    """A directory with hosts, and runs of the playbook on it."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "group_vars/all/airflow_size.yml"
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "airflow_database_host": "db1",
            "airflow_broker_host": "broker1",
            "airflow_database_password": "password-of-the-database",
            "airflow_fernet_key": "key-of-the-connections",
            "airflow_root": str(folder / "nothing"),
            "airflow_task_memory": 10,
        }
        self.hosts = {"vars": shared, "children": {"master": {"hosts": {"m1": {}, "m2": {}}}}}
        self.hosts["children"]["worker"] = {"hosts": {"w1": {}, "w2": {}}}

    def run(self, *arguments, write=True, rc=0):
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": self.hosts}))
        file = ["-e", json.dumps({"airflow_size_file": str(self.file)})] if write else []
        done = play(self.folder, *arguments, *file, playbook="dataops.airflow.size", inventory=self.folder)
        assert done.returncode == rc, done.stdout
        assert "password-of-the" not in done.stdout and "key-of-the" not in done.stdout
        return done.stdout

    def size(self):
        return yaml.safe_load(self.file.read_text())["airflow_size"]


def changed(output):
    return sum(int(count) for count in re.findall(r"changed=(\d+)", output))


@pytest.fixture
def inventory(tmp_path):
    return Inventory(tmp_path)


def test_shows_by_default_and_writes_when_asked_once(inventory):
    shown = inventory.run("-vvv", write=False)
    assert not inventory.file.exists() and changed(shown) == 0
    assert "parallelism: %d = %d + %d" % (8 * CPUS, 4 * CPUS, 4 * CPUS) in shown
    promised = inventory.run("--check", "--diff")
    assert not inventory.file.exists() and changed(promised) == 1
    assert "+  parallelism: %d" % (8 * CPUS) in promised
    assert changed(inventory.run()) == 1
    assert inventory.size() == {
        "parallelism": 8 * CPUS,
        "max_active_tasks_per_dag": 4 * CPUS,
        "default_pool": 8 * CPUS,
        "api_workers": -(-8 * CPUS // 64),
        "workers": {"w1": {"concurrency": 4 * CPUS}, "w2": {"concurrency": 4 * CPUS}},
    }
    before = inventory.file.stat()
    assert changed(inventory.run()) == 0 and changed(inventory.run("--check")) == 0
    assert inventory.file.stat().st_mtime_ns == before.st_mtime_ns
    # A worker that joins: with --limit it gets its figure, and nothing else changes.
    old = inventory.size()
    inventory.hosts["children"]["worker"]["hosts"]["w3"] = {"airflow_size_tasks_per_cpu": 1}
    assert changed(inventory.run("--limit", "w3")) == 1
    assert inventory.size() == dict(old, workers=dict(old["workers"], w3={"concurrency": CPUS}))
    # What the operator sets himself is not in the file any more.
    inventory.hosts["vars"]["airflow_options"] = {"core": {"parallelism": 3}, "celery": {"worker_concurrency": 2}}
    inventory.run()
    assert inventory.size() == {"max_active_tasks_per_dag": 3, "default_pool": 6, "api_workers": 1}


def test_leaves_alone_what_others_wrote(inventory):
    inventory.file.parent.mkdir(parents=True)
    inventory.file.write_text("airflow_size: {parallelism: 7}\n")
    said = inventory.run(rc=2)
    assert "it is there, and was not written by this playbook: name another file" in said
    assert inventory.file.read_text() == "airflow_size: {parallelism: 7}\n"


def test_hides_no_file_of_variables(inventory):
    inventory.file.parent.parent.mkdir()
    (inventory.file.parent.parent / "all.yml").write_text("airflow_timezone: UTC\n")
    assert "it would hide" in inventory.run(rc=2)
    assert not inventory.file.parent.exists()


def test_refuses_numbers_that_are_none(inventory):
    inventory.hosts["children"]["worker"]["hosts"]["w1"] = {"airflow_size_tasks_per_cpu": 0}
    inventory.hosts["vars"]["airflow_size_dag_share"] = 101
    said = inventory.run("-vvv", rc=2)
    assert "w1: airflow_size_tasks_per_cpu: 0 is not 1 or more; airflow_size_dag_share: 101 is not 1 to 100" in said
    assert not inventory.file.exists()


def test_writes_nothing_that_cannot_work(inventory):
    inventory.hosts["children"]["worker"]["hosts"]["w1"] = {"airflow_task_memory": 999999999}
    said = inventory.run(rc=2)
    assert "w1: its memory is not enough for a single task." in said
    assert not inventory.file.exists()
