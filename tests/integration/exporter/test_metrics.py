# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exporter of queues and workers, run by each release as on its hosts, with a real broker and real workers."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.parse

import pytest
from prometheus import free_port, get, wait
from releases import VERSIONS, Release
from servers import PASSWORD

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "roles/airflow_metrics/files/airflow_metrics.py"
WORKER = pathlib.Path(__file__).with_name("worker.py")


class Queues:
    """A release's exporter, and workers of its Celery."""

    def __init__(self, version, redis, place):
        self.release = Release(version)
        self.broker = f"redis://:{urllib.parse.quote(PASSWORD, safe='')}@{redis.address}:6379/{VERSIONS.index(version)}"
        self.place = place
        self.errors = place / "exporter.log"
        self.processes = []
        (place / "broker_url").write_text(self.broker)
        (place / "airflow.cfg").write_text(f"[celery]\nbroker_url_cmd = cat {place}/broker_url\n")
        self.port = free_port()
        # The interpreter warns of what does not concern anybody here.
        self.start("exporter", SCRIPT, "127.0.0.1", self.port, place / "airflow.cfg", PYTHONWARNINGS="ignore")
        wait(lambda: self.told() is not None, "the exporter does not start")

    def start(self, log, *arguments, **environment):
        """Runs a program in a session of its own, as a worker has processes of its own."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        with (self.place / f"{log}.log").open("w", encoding="utf-8") as output:
            self.processes.append(
                subprocess.Popen(
                    [self.release.path / "bin/python", *map(str, arguments)],
                    cwd=self.place,
                    env=dict(known, C_FORCE_ROOT="1", **environment),
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        return self.processes[-1]

    def told(self):
        """All samples as {line's beginning: value}, without those of processes, which are those of the machine."""
        try:
            text = get(f"http://127.0.0.1:{self.port}/metrics")
        except OSError:
            return None
        lines = [line for line in text.splitlines() if line and not line.startswith(("#", "airflow_deployment_info"))]
        return {name: float(value) for name, _space, value in (line.rpartition(" ") for line in lines)}

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture(scope="module", params=VERSIONS)
def queues(request, redis, tmp_path_factory):
    made = Queues(request.param, redis, tmp_path_factory.mktemp("queues"))
    yield made
    made.stop()


def test_nobody_is_there(queues):
    assert queues.told() == {"airflow_celery_up": 1}


def test_workers_and_queues(queues, redis):
    queues.start("a", WORKER, queues.broker, "celery@a", "default,dataops_canary.a")
    queues.start("b", WORKER, queues.broker, "celery@b", "default,reports,dataops_canary.b")
    given = queues.start("tasks", WORKER, queues.broker, "12", "default")
    assert given.wait(60) == 0, (queues.place / "tasks.log").read_text()
    expected = {
        "airflow_celery_up": 1,
        'airflow_worker_slots{worker="a"}': 2,
        'airflow_worker_slots{worker="b"}': 2,
        'airflow_queue_workers{queue="default"}': 2,
        'airflow_queue_workers{queue="reports"}': 1,
        # Each has taken two to work on, and two more.
        'airflow_queue_length{queue="default"}': 12 - 2 * (2 + 2),
        'airflow_queue_length{queue="reports"}': 0,
    }
    wait(lambda: queues.told() == expected, (queues.told(), queues.errors.read_text()))


def test_a_broker_that_is_away_and_back(queues, redis):
    redis.stop()
    try:
        wait(lambda: queues.told() == {"airflow_celery_up": 0}, queues.told())
        began = time.monotonic()
        queues.told()
        # Prometheus gives up after ten seconds.
        assert time.monotonic() - began < 8
    finally:
        redis.start()
    wait(lambda: queues.told()["airflow_celery_up"] == 1, queues.told())
    said = queues.errors.read_text()
    assert re.search("^cannot ask the broker: [A-Za-z]+$", said, re.M)
    assert [part for part in (PASSWORD, PASSWORD[:9], "p%40s") if part in said] == []
