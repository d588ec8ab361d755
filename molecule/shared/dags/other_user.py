# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of another user, and tasks that keep a worker busy, for Airflow before 3."""

from __future__ import annotations

import datetime
import os
import pathlib
import pwd
import subprocess

from airflow import DAG

try:
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import PythonOperator
except ImportError:
    from airflow.operators.bash_operator import BashOperator
    from airflow.operators.python_operator import PythonOperator


def look_around():
    secrets = pathlib.Path(os.environ["AIRFLOW_CONFIG"]).parent / "secrets"
    return {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "groups": sorted(os.getgroups()) == [os.getgid()],
        "secrets": os.access(str(secrets), os.R_OK) or os.access(str(secrets), os.X_OK),
        "root": subprocess.call(["/usr/bin/sudo", "-n", "true"]) == 0,
    }


settings = {
    "start_date": datetime.datetime(2020, 1, 1),
    "schedule_interval": None,
    "is_paused_upon_creation": False,
    "default_args": {"retries": 0},
}

with DAG("other_user", **settings) as other_user:
    PythonOperator(task_id="identity", python_callable=look_around, run_as_user="reports")

with DAG("other_user_waits", **settings) as other_user_waits:
    BashOperator(task_id="wait", bash_command="exec sleep 987", run_as_user="reports")

with DAG("busy", **settings) as busy:
    for number in range(16):
        BashOperator(task_id="wait_%d" % number, bash_command="sleep 45")
