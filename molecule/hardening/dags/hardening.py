# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tasks do that units may stand in the way of, on the worker of each preset."""

from __future__ import annotations

import errno
import os
import pathlib
import pwd
import subprocess

from airflow.sdk import DAG, task


def compile_at_run_time():
    import numba

    def executable():
        """Mappings of memory that can be executed and is no file's."""
        with open("/proc/self/maps") as maps:
            return sum("x" in line.split()[1] and len(line.split()) == 5 for line in maps)

    @numba.njit
    def total(count):
        found = 0
        for number in range(count):
            found += number
        return found

    before = executable()
    return {"total": int(total(1000)), "new": executable() - before}


def write(directory):
    try:
        pathlib.Path(directory, "file").write_text("written")
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"


def look_around():
    secrets = pathlib.Path(os.environ["AIRFLOW_CONFIG"]).parent / "secrets"
    return {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "groups": sorted(os.getgroups()) == [os.getgid()],
        "secrets": os.access(secrets, os.R_OK) or os.access(secrets, os.X_OK),
        "root": subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0,
    }


for preset in ("baseline", "strict"):
    arguments = {"queue": preset, "retries": 0}
    settings = {"schedule": None, "catchup": False, "is_paused_upon_creation": False}

    with DAG(f"own_user_{preset}", **settings):
        task.external_python(task_id="compiled", python="/opt/jit/bin/python", expect_airflow=False, **arguments)(
            compile_at_run_time
        )()
        task(task_id="declared", **arguments)(write)("/srv/declared")
        task(task_id="elsewhere", **arguments)(write)("/srv/elsewhere")

    with DAG(f"other_user_{preset}", **settings):
        task(task_id="identity", run_as_user="reports", **arguments)(look_around)()
