# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of another user that only end when they are told to."""

from __future__ import annotations

import time

from airflow.sdk import DAG, task

for preset in ("baseline", "strict"):
    with DAG(f"endless_{preset}", schedule=None, catchup=False, is_paused_upon_creation=False):

        @task(queue=preset, run_as_user="reports", retries=0)
        def endless():
            time.sleep(600)

        endless()
