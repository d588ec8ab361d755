# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The link `current` and what is removed, on real directories."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils._lock import Busy, alone
from ansible_collections.dataops.airflow.plugins.modules import airflow_current


@pytest.fixture
def root(tmp_path):
    """Four deployments, d0 the oldest, d1 to d3 of one release, and an older release."""
    for number in range(4):
        deployment = tmp_path / "deployments" / f"d{number}"
        deployment.mkdir(parents=True)
        release = tmp_path / "releases" / ("new" if number else "old")
        release.mkdir(parents=True, exist_ok=True)
        (deployment / "release").symlink_to(release)
        os.utime(deployment, (number, number))
    return tmp_path


@pytest.fixture
def call(root, capsys):
    def run(deployment, keep=1, check=False):
        arguments = dict(root=str(root), deployment=str(root / "deployments" / deployment), keep=keep)
        with patch_module_args(dict(arguments, _ansible_check_mode=check)), contextlib.suppress(SystemExit):
            airflow_current.main()
        return json.loads(capsys.readouterr().out)

    return run


def there(root):
    return sorted(path.name for path in root.glob("[dr]*s/[!.]*"))


def test_check_run_and_second_run(root, call):
    gone = [str(root / "deployments" / name) for name in ("d1", "d0")] + [str(root / "releases" / "old")]
    result = call("d3", check=True)
    assert result["changed"] is True and result["removed"] == gone
    assert there(root) == ["d0", "d1", "d2", "d3", "new", "old"] and not (root / "current").exists()
    result = call("d3")
    assert result["changed"] is True and result["removed"] == gone
    assert there(root) == ["d2", "d3", "new"]
    assert os.readlink(root / "current") == str(root / "deployments" / "d3")
    for check in (True, False):
        assert call("d3", check=check)["changed"] is False


def test_link_that_a_killed_run_left_aside(root, call):
    (root / "current.new").symlink_to("nowhere")
    assert call("d3", keep=9)["changed"] is True
    assert os.readlink(root / "current") == str(root / "deployments" / "d3")
    assert not os.path.lexists(root / "current.new")


def test_missing_deployment_is_refused(root, call):
    assert call("d9", check=True)["changed"] is True
    assert "there is no deployment" in call("d9")["msg"]


def test_nothing_is_removed_while_another_run_builds(root, call):
    """And what that run has removed in the end is no longer this one's to remove."""
    released = threading.Event()

    def build():
        with alone(str(root / "releases" / ".lock")):
            started.set()
            time.sleep(0.3)
            assert there(root) == ["d0", "d1", "d2", "d3", "new", "old"]
            os.rename(root / "deployments" / "d0", root / "gone")
            released.set()

    started = threading.Event()
    thread = threading.Thread(target=build)
    thread.start()
    started.wait()
    result = call("d3")
    thread.join()
    assert released.is_set() and result["changed"] is True
    assert there(root) == ["d2", "d3", "new"]


def test_lock_that_is_held_for_too_long(tmp_path):
    path = str(tmp_path / "lock")
    with alone(path):
        assert oct(os.stat(path).st_mode) == "0o100600"
        with pytest.raises(Busy, match="another run on this host holds"), alone(path, timeout=0):
            pass
    with alone(path, timeout=0):
        pass
