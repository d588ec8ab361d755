# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What units are given has to be there: users of tasks, and directories to write to."""

from __future__ import annotations

import pwd

from ansible_collections.dataops.airflow.plugins.modules import airflow_preflight
from refusals import refused


def test_a_user_that_is_there_is_accepted():
    ordinary = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid)
    assert list(airflow_preflight.check_users({"users": [ordinary]})) == []


def test_a_user_that_is_not_there_is_refused_by_its_name():
    (problem,) = airflow_preflight.check_users({"users": ["reports"]})
    assert refused("b-user", problem)


def test_root_is_recognised_by_its_number(monkeypatch):
    monkeypatch.setattr(airflow_preflight.pwd, "getpwnam", lambda name: pwd.getpwuid(0))
    (problem,) = airflow_preflight.check_users({"users": ["toor"]})
    assert refused("b-root", problem)


def test_a_directory_has_to_be_one(tmp_path):
    (tmp_path / "file").touch()
    assert list(airflow_preflight.check_directories({"directories": [str(tmp_path)]})) == []
    for path in (tmp_path / "file", "/srv/nowhere"):
        (problem,) = airflow_preflight.check_directories({"directories": [str(path)]})
        assert refused("b-directory", problem.replace(str(path), "/srv/nowhere"))


def test_a_user_who_does_not_become_root_is_refused(monkeypatch):
    monkeypatch.setattr(airflow_preflight.os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    assert refused("b-become", airflow_preflight.not_root())
