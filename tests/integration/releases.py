# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installed releases of Airflow, each from the lock that the collection ships."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCKS = ROOT / "roles/airflow_install/files/locks"
VERSIONS = sorted(path.stem for path in LOCKS.glob("[0-9]*.txt"))


def interpreter(facts):
    """This one, where the release runs on it."""
    if "%d.%d" % sys.version_info[:2] in facts["python"]:
        return sys.executable
    return os.environ["BENCH_PYTHON_3_8"] + "/bin/python3.8"


class Release:
    """A virtual environment, kept until its lock changes."""

    def __init__(self, version):
        self.version = version
        self.facts = release(version)
        extras = self.facts["extras"]
        self.extras = sorted({*extras["always"], *extras["postgresql"], *extras["redis"], *extras["s3"]})
        if self.facts["series"] != "1.10":
            self.extras.append("cncf-kubernetes")
        lock = LOCKS / f"{version}.txt"
        digest = hashlib.sha256(lock.read_bytes() + repr(self.extras).encode()).hexdigest()[:12]
        self.path = ROOT / f".cache/releases/{version}-{digest}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Tests that run side by side want the same one.
        with open(f"{self.path}.lock", "w") as building:
            fcntl.flock(building, fcntl.LOCK_EX)
            if not (self.path / "complete").exists():
                self.build(lock)

    def build(self, lock):
        uv = ["uv", "--quiet"]
        subprocess.run(
            [*uv, "venv", "--clear", "--no-python-downloads", "--python", interpreter(self.facts), self.path],
            check=True,
        )
        pins = ["--require-hashes", "--constraint", lock, "--build-constraints", lock, "--requirement", "-"]
        subprocess.run(
            [*uv, "pip", "install", "--python", self.path, *pins],
            check=True,
            text=True,
            input=f"apache-airflow[{','.join(self.extras)}]=={self.version}\n",
        )
        (self.path / "complete").touch()

    def run(self, *arguments, config, home, text=None, python_path=""):
        """What a program prints that the release's interpreter runs, with the configuration of a deployment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        environment.update(AIRFLOW_HOME=str(home), AIRFLOW_CONFIG=str(config), HOME=str(home))
        if python_path:
            environment["PYTHONPATH"] = python_path
        return subprocess.run(
            [self.path / "bin/python", *arguments],
            check=True,
            env=environment,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout


@pytest.fixture(scope="session", params=VERSIONS)
def installed(request):
    return Release(request.param)
