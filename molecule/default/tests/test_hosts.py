# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts are as the roles say: users, modes, units."""

from __future__ import annotations

import pytest

testinfra_hosts = ["docker://airflow-default-m1", "docker://airflow-default-w1"]


def test_airflow_user_has_no_login_and_no_sudo(host):
    user = host.user("airflow")
    assert user.exists
    assert user.shell == "/usr/sbin/nologin"
    assert "sudo" not in user.groups


@pytest.mark.parametrize(
    ("path", "owner", "mode"),
    [
        ("/opt/airflow", "root", 0o755),
        ("/var/lib/airflow", "airflow", 0o750),
    ],
)
def test_directories(host, path, owner, mode):
    directory = host.file(path)
    assert directory.is_directory
    assert directory.user == owner
    assert directory.mode == mode


def test_secrets_are_for_the_airflow_group_only(host):
    files = host.check_output("find /opt/airflow/deployments -path '*/secrets/*' -type f -printf '%m %u %g\\n'")
    assert set(files.split("\n")) == {"640 root airflow"}


def test_configuration_holds_no_password(host):
    text = host.check_output("cat /opt/airflow/deployments/*/airflow.cfg")
    assert "_cmd = " in text
    assert "://airflow:" not in text


def test_no_unit_failed(host):
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
