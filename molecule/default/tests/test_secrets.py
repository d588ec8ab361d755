# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret of the inventory shows: not in what a run prints, in a journal, an argument, or a file that others read."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

NODES = ["airflow-default-m1", "airflow-default-w1"]


@pytest.fixture(scope="module")
def secrets():
    folder = pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets"
    found = {path.name: path.read_text().strip() for path in folder.iterdir()}
    assert len(found) == 6
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    return found


def shown(text, secrets):
    return sorted(name for name, secret in secrets.items() if secret in text)


def test_a_run_prints_none(playbook, secrets):
    # The options change, so that deployment, units and restarts are all shown as they would be.
    run = playbook(
        "dataops.airflow.site",
        "-vvvv",
        "--check",
        "--diff",
        "--extra-vars",
        '{"airflow_options": {"core": {"parallelism": 7}}}',
    )
    assert run.rc == 0
    assert "parallelism = 7" in run.output
    assert shown(run.output, secrets) == []


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(
    "command",
    [
        "journalctl --no-pager --output cat",
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        "systemctl show --no-pager 'airflow-*'",
        "find /etc /opt /tmp /run /usr/local /var -xdev -type f -perm -o=r -size -1024k"
        " -not -path '/opt/airflow/releases/*' -exec cat {} +",
    ],
    ids=["journal", "arguments", "units", "files"],
)
def test_a_host_shows_none(node, command, secrets):
    finished = subprocess.run(
        ["docker", "exec", node, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    assert finished.stdout
    assert shown(finished.stdout.decode(errors="replace"), secrets) == []
