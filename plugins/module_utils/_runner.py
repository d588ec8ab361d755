# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Runs the programs of one Airflow release, as the Airflow user, in the environment of one configuration."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess

RUNNER_ARGUMENTS = dict(
    venv=dict(type="path", required=True),
    home=dict(type="path", required=True),
    config=dict(type="path", required=True),
    user=dict(type="str", default="airflow"),
    current=dict(type="path"),
)


def stand_in(module):
    """In check mode, lets the deployment in use stand in for one that is still to be written.

    Returns whether the release itself is there.
    """
    p = module.params
    if module.check_mode and p["current"] and not os.path.exists(p["config"]):
        config = os.path.join(p["current"], "airflow.cfg")
        p["config"] = config if os.path.exists(config) else p["config"]
    return os.access(os.path.join(p["venv"], "bin", "python"), os.X_OK)


def read_environment(path):
    """The variables in the environment file of a deployment, as airflow_deployment writes it."""
    try:
        with open(path, encoding="utf-8") as handle:
            lines = handle.read().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: re.sub(r"\\(.)", r"\1", value[1:-1]) for name, value in pairs}


class RunnerError(Exception):
    """A program of the release could not be run, or did not end in time."""


class Finished:
    """What a program left behind."""

    def __init__(self, argv, rc, stdout, stderr):
        self.argv = argv
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr


class Runner:
    """Programs of the release in `venv`, run as `user` under `config`.

    ansible.module_utils.basic.AnsibleModule.run_command is not used: it cannot change the user, and it expands `$` in
    arguments.
    """

    def __init__(self, venv, home, config, user="airflow"):
        self.venv = venv
        self.home = home
        self.config = config
        self.user = user

    def environment(self):
        """The whole environment of the program: the deployment's, and nothing of the caller's."""
        own = {
            "AIRFLOW_CONFIG": self.config,
            "AIRFLOW_HOME": self.home,
            "HOME": self.home,
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "400",
            "PATH": os.path.join(self.venv, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "VIRTUAL_ENV": self.venv,
        }
        return dict(read_environment(os.path.join(os.path.dirname(self.config), "environment")), **own)

    def airflow(self, arguments, timeout=None):
        """Runs the `airflow` command of the release with `arguments`."""
        return self.run([os.path.join(self.venv, "bin", "airflow")] + list(arguments), timeout=timeout)

    def python(self, source, request, timeout=None):
        """Runs the program text `source` in the release's interpreter and returns the JSON object it prints last.

        The request reaches the program as its standard input, never as an argument: other users read arguments.
        """
        interpreter = os.path.join(self.venv, "bin", "python")
        program = (
            "import sys, json\n"
            "REQUEST = json.loads(sys.stdin.readline())\n"
            "exec(compile(sys.stdin.read(), 'dataops.airflow', 'exec'))"
        )
        data = json.dumps(request) + "\n" + source
        finished = self.run([interpreter, "-I", "-c", program], data=data, timeout=timeout)
        last = finished.stdout.strip().rsplit("\n", 1)[-1]
        try:
            return json.loads(last)
        except ValueError as error:
            raise RunnerError(
                "%s gave no result (exit code %s): %s"
                % (interpreter, finished.rc, (finished.stderr or finished.stdout).strip()[-2000:])
            ) from error

    def run(self, argv, data=None, timeout=None):
        """Runs `argv`, feeds it `data`, waits at most `timeout` seconds."""
        if not os.access(argv[0], os.X_OK):
            raise RunnerError("%s is not there: the release is not installed on this host" % argv[0])
        try:
            process = subprocess.Popen(
                argv,
                env=self.environment(),
                cwd="/",
                stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                preexec_fn=self._become(),
            )
        except OSError as error:
            raise RunnerError("cannot run %s: %s" % (argv[0], error)) from error
        try:
            stdout, stderr = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, 9)
            process.communicate()
            raise RunnerError("%s did not end within %s seconds" % (argv[0], timeout)) from error
        return Finished(argv, process.returncode, stdout, stderr)

    def _become(self):
        """What the child does between fork and exec: gives up root for `user`."""
        try:
            account = pwd.getpwnam(self.user)
        except KeyError as error:
            raise RunnerError("there is no user %s on this host" % self.user) from error
        if os.geteuid() != 0:
            if os.geteuid() != account.pw_uid:
                raise RunnerError("root, or the user %s, is needed to run the release" % self.user)
            return None

        def become():
            os.umask(0o027)
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

        return become
