# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of Ansible's programs as a user's, with none of the bench's settings, for the tests of all kinds."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "collections"


def run(*command, cwd, **variables):
    """Runs a program that is installed beside this Python; `variables` are added to its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment["PATH"]
    environment.update(variables, ANSIBLE_NOCOLOR="1")
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def play(folder, *arguments, playbook="play.json", inventory="hosts.json", **variables):
    """Runs a playbook in a folder with this checkout's collection."""
    variables.setdefault("ANSIBLE_COLLECTIONS_PATH", str(COLLECTIONS))
    return run("ansible-playbook", playbook, "-i", inventory, *arguments, cwd=folder, **variables)


def said(done):
    """What a run said that went well."""
    assert done.returncode == 0, done.stdout
    return done.stdout
