# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host is to run has to fit into its memory, and the refusal has the numbers."""

from __future__ import annotations

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils import _capacity
from ansible_collections.dataops.airflow.plugins.modules import airflow_preflight
from refusals import refused

WORKER = {
    "components": {"worker": 250},
    "tasks": 16,
    "task_memory": 100,
    "variable": "airflow_service_worker_concurrency",
}
MASTER = {"components": {"webserver": 280, "scheduler": 150}, "tasks": 0, "task_memory": 100, "variable": "x"}


def check(demand, memory):
    return list(airflow_preflight.check_memory({"demand": demand}, memory))


def test_more_tasks_than_memory():
    (said,) = check(WORKER, 1000)
    assert refused("b-memory-tasks", said)


def test_what_fits_to_the_last_mebibyte():
    assert check(WORKER, 1850) == [] and check(MASTER, 430) == [] and check(None, 1) == []
    assert check(WORKER, 1849) and check(MASTER, 429)
    assert check(dict(WORKER, tasks=7), 1000) == []


def test_components_that_do_not_fit():
    (said,) = check(MASTER, 400)
    assert refused("b-memory-components", said)


@pytest.mark.parametrize("memory", [200, 300])
def test_no_room_for_a_single_task(memory):
    (said,) = check(WORKER, memory)
    wanted = "worker 250 MiB and a task of 100 MiB (airflow_task_memory) need 350 MiB, and the host has %d" % memory
    assert said.startswith("airflow_components: " + wanted)


def test_the_host_is_asked_in_mebibytes(tmp_path):
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemTotal:       16265216 kB\n")
    assert _capacity.memory(str(tmp_path / "meminfo")) == 15884
    assert _capacity.memory() > 100 and _capacity.cpus() >= 1
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\n")
    with pytest.raises(OSError, match="MemTotal"):
        _capacity.memory(str(tmp_path / "meminfo"))
