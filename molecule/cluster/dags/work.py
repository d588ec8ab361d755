# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks that are still at work when something is taken away from under them."""

from __future__ import annotations

import time

from airflow.sdk import DAG, task

with DAG("work", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(retries=0)
    def work(number):
        for _second in range(25):
            time.sleep(1)
        return number

    work.expand(number=list(range(4)))
