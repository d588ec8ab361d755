# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of a release that is made up of real executables."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._runner import Runner, RunnerError

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def runner(tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    return Runner(str(venv), "/tmp", "/etc/airflow.cfg", ME)


def program(runner, text):
    path = os.path.join(runner.venv, "bin", "airflow")
    with open(path, "w") as handle:
        handle.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)


def test_nothing_of_the_caller_leaks_in(runner, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    program(runner, 'env; pwd; umask; echo "$@"; cat\n')
    finished = runner.airflow(["db", "$HOME ~"])
    lines = finished.stdout.splitlines()
    assert finished.rc == 0 and "AIRFLOW_CONFIG=/etc/airflow.cfg" in lines and "AIRFLOW_HOME=/tmp" in lines
    assert not [line for line in lines if line.startswith("SECRET=")]
    assert lines[-3] == "/" and lines[-1] == "db $HOME ~"
    if os.geteuid() == 0:
        assert lines[-2] == "0027"


def test_exit_code_and_bytes_that_are_no_text(runner):
    program(runner, "printf 'a\\377'; printf 'b\\377' >&2; exit 3\n")
    finished = runner.airflow([])
    assert (finished.rc, finished.stdout, finished.stderr) == (3, "a\ufffd", "b\ufffd")


def test_request_and_result(runner):
    source = "import sys\nprint('chatter')\nprint(json.dumps({'got': REQUEST['a'], 'argv': sys.argv}))"
    result = runner.python(source, {"a": "s3cret \n '\" ü"})
    assert result == {"got": "s3cret \n '\" ü", "argv": ["-c"]}


def test_program_without_a_result(runner):
    with pytest.raises(RunnerError, match=r"gave no result \(exit code 1\)(.|\n)*ZeroDivisionError"):
        runner.python("1 / 0", {})


def test_timeout_ends_the_children_too(runner):
    program(runner, "sleep 60 & wait\n")
    with pytest.raises(RunnerError, match="did not end within 0.2 seconds"):
        runner.airflow([], timeout=0.2)


def test_release_that_is_not_there(runner):
    with pytest.raises(RunnerError, match="bin/airflow is not there: the release is not installed"):
        runner.airflow([])
    with pytest.raises(RunnerError, match="there is no user no-such-user"):
        program(runner, "")
        Runner(runner.venv, "/tmp", "/x", "no-such-user").airflow([])
    program(runner, "")
    path = os.path.join(runner.venv, "bin", "airflow")
    with open(path, "w") as handle:
        handle.write("#!/no/such/interpreter\n")
    with pytest.raises(RunnerError, match="cannot run"):
        runner.airflow([])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_programs_run_as_the_user(runner):
    # Where other users get to: the directories of pytest are for their owner alone.
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        os.makedirs(os.path.join(root, "bin"))
        runner.user, runner.venv = "nobody", root
        program(runner, "id -un; id -G\n")
        account = pwd.getpwnam("nobody")
        assert runner.airflow([]).stdout.split() == ["nobody", str(account.pw_gid)]
