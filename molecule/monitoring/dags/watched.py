# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is to be told of: a task that waits in a queue, and more of them than a pool has slots."""

from __future__ import annotations

import time

from airflow.sdk import DAG, task

with DAG("queued", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(retries=0)
    def nothing():
        """It waits for a worker, and for nothing else."""

    nothing()

with DAG("crowded", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(retries=0, pool="narrow")
    def sleep(number):
        time.sleep(60)
        return number

    sleep.expand(number=list(range(2)))
