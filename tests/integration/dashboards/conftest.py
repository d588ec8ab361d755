# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import subprocess
import time

import pytest
from chromium import Browser
from metrics import history
from prometheus import ask, running, wait

ROOT = pathlib.Path(__file__).resolve().parents[3]

RULES = """
groups:
  - name: test
    rules:
      - alert: AirflowDeadMansSwitch
        expr: vector(1)
        labels: {severity: none}
        annotations: {summary: Alerts are evaluated}
      - alert: AirflowTaskQueued
        expr: airflow_num_queued_tasks >= 0
        labels: {severity: critical}
        annotations:
          summary: Tasks stay queued
          description: More than 0 tasks have been queued for 15 minutes.
          runbook_url: https://docs.example.invalid/alerts/AirflowTaskQueued.md
      - alert: AirflowPoolFull
        expr: max by (pool) (airflow_pool_slots{pool="warehouse"})
        labels: {severity: warning}
        annotations:
          summary: A pool is full
          description: All 8 slots of pool <warehouse> are taken, and 3 tasks wait.
          runbook_url: javascript:alert(1)
      - alert: AirflowDiskFilling
        expr: vector(1)
        for: 1h
        labels: {severity: warning}
"""


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """The page, as the role installs it."""
    folder = tmp_path_factory.mktemp("consoles")
    command = ["ansible", "localhost", "--module-name", "ansible.builtin.include_role", "--args"]
    command += ["name=dataops.airflow.airflow_dashboards tasks_from=page"]
    command += ["--extra-vars", f"airflow_dashboards_page_directory={folder}"]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder / "airflow.html"


@pytest.fixture(scope="session")
def prometheus(page, tmp_path_factory):
    """The URL of a Prometheus that has seen a cluster for six hours. It is not at the root of its server."""
    place = tmp_path_factory.mktemp("prometheus")
    with running(place, history(int(time.time())), RULES, consoles=page.parent, prefix="/prometheus") as url:
        wait(lambda: ask(url, 'ALERTS{alertstate="firing"}'), "no alert fires")
        yield url


@pytest.fixture(scope="session")
def browser(prometheus, tmp_path_factory):
    browser = Browser(prometheus, tmp_path_factory.mktemp("profile"), ROOT / "tests/output/dashboards")
    yield browser
    browser.driver.quit()
