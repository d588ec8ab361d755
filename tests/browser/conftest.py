# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster of containers as its inventory tells, and a browser on its user interface."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import urllib.request

import pytest
from chromium import Browser

ROOT = pathlib.Path(__file__).resolve().parents[2]


def docker(*arguments):
    """What a docker command prints."""
    return subprocess.run(
        ["docker", *arguments], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout.strip()


class Host:
    """A container of the cluster."""

    def __init__(self, container):
        self.container = container

    @property
    def address(self):
        return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.container)

    def run(self, *command):
        return docker("exec", self.container, *command)

    def kill(self):
        """Goes as in a power failure."""
        docker("kill", self.container)

    def start(self):
        """Comes back, and answers."""
        docker("start", self.container)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.address}:8080/execution/health", timeout=5).close()
                return
            except OSError:
                time.sleep(1)
        raise AssertionError(f"{self.container} does not come back")


class Cluster:
    """The hosts of an inventory by their groups, and what a person needs to log in."""

    def __init__(self, inventory):
        listed = subprocess.run(
            ["ansible-inventory", "-i", str(inventory), "--list"], check=True, text=True, stdout=subprocess.PIPE
        )
        found = json.loads(listed.stdout)
        variables = found["_meta"]["hostvars"]
        self.masters, self.workers = (
            {name: Host(variables[name]["ansible_host"]) for name in found[group]["hosts"]}
            for group in ("master", "worker")
        )
        self.user = "admin"
        self.password = (inventory / ".secrets/admin_password").read_text().strip()

    @property
    def url(self):
        """The proxy of a worker: whichever master goes, it stays."""
        return f"http://{next(iter(self.workers.values())).address}:8089"


@pytest.fixture(scope="session")
def cluster():
    return Cluster(ROOT / os.environ.get("BROWSER_INVENTORY", "inventories/demo"))


@pytest.fixture(scope="session")
def browser(cluster, tmp_path_factory):
    browser = Browser(cluster.url, tmp_path_factory.mktemp("profile"), ROOT / "tests/output/browser")
    yield browser
    browser.driver.quit()
