# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that reboots comes back working, without us."""

from __future__ import annotations

import subprocess

NODES = ["airflow-default-m1", "airflow-default-w1"]


def test_hosts_work_again_after_a_restart(playbook):
    subprocess.run(["docker", "restart", "--time", "60", *NODES], check=True, stdout=subprocess.DEVNULL)
    for node in NODES:
        subprocess.run(
            ["docker", "exec", node, "sh", "-c", "until systemctl is-system-running --wait; do sleep 1; done"],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    run = playbook("dataops.airflow.verify")
    assert run.rc == 0
    again = playbook("dataops.airflow.site")
    assert again.rc == 0
    assert again.changed == []
