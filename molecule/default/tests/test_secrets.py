# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret of the inventory shows: not in what a run tells, in an argument, a journal, or a file that others read."""

from __future__ import annotations

import subprocess

import pytest

NODES = ["airflow-default-m1", "airflow-default-w1"]


def shown(text, secrets):
    return sorted(name for name, secret in secrets.items() if secret in text)


@pytest.mark.parametrize("kind", ["results", "arguments"])
def test_no_run_shows_one(kind, records, secrets):
    """From bare hosts on: what tasks returned, and the arguments of all processes while they ran."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in records.files(kind)]
    assert len(texts) >= 3
    assert any({"results": "/opt/airflow/deployments/", "arguments": "/bin/airflow"}[kind] in text for text in texts)
    assert [shown(text, secrets) for text in texts if shown(text, secrets)] == []


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
