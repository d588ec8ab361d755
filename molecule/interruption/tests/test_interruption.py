# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller dies, or a host, or there are two controllers: the next run makes good whatever that left."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess

import docker
import pytest

MASTER, WORKER = NODES = ["airflow-interruption-m1", "airflow-interruption-w1"]
SITE, VERIFY = "dataops.airflow.site", "dataops.airflow.verify"
UP = "until systemctl is-system-running --wait; do sleep 0.2; done"


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


class Hosts:
    """The hosts of the scenario, and whether the last that was done to them ended well."""

    def __init__(self):
        # What `converge` and `side_effect` left.
        self.converged = True

    def bare(self):
        """Puts new containers in the place of the old ones, of the same image and with the same settings."""
        client = docker.from_env().api
        for node in NODES:
            old = client.inspect_container(node)
            networks = {
                name: {"IPAMConfig": network["IPAMConfig"], "Aliases": network["Aliases"]}
                for name, network in old["NetworkSettings"]["Networks"].items()
            }
            client.remove_container(node, force=True)
            settings = dict(HostConfig=old["HostConfig"], NetworkingConfig={"EndpointsConfig": networks})
            client.create_container_from_config(dict(old["Config"], **settings), node)
            client.start(node)
        for node in NODES:
            self.up(node)
        secrets = pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets"
        shutil.rmtree(secrets, ignore_errors=True)
        self.converged = False

    @staticmethod
    def up(node):
        subprocess.run(
            ["docker", "exec", node, "sh", "-c", UP],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def hosts():
    return Hosts()


@pytest.fixture
def whole(playbook):
    """Proves that a run converges, that the one after it has nothing to do, and that all is as declared."""

    def prove(*arguments):
        assert playbook(SITE, *arguments).rc == 0
        again = playbook(SITE, *arguments)
        assert (again.rc, again.changed) == (0, [])
        assert playbook(VERIFY, *arguments).rc == 0
        query = "SELECT count(*), to_regclass('dataops_airflow_migration') FROM alembic_version"
        assert on(MASTER, "su", "postgres", "-c", f'psql -tA -d airflow -c "{query}"') == "1|"

    return prove


def options(number):
    """A configuration of its own for each case."""
    return ["--extra-vars", json.dumps({"airflow_options": {"core": {"parallelism": number}}})]


def test_next_run_makes_good_what_a_killed_one_left(hosts, playbook, whole, kill):
    if kill.run == "converge":
        hosts.bare()
        arguments = []
    elif not hosts.converged:
        hosts.bare()
        assert playbook(SITE).rc == 0
    if kill.run == "side_effect":
        arguments = options(100 + 2 * kill.number + bool(kill.after))
    hosts.converged = False
    killed = playbook(SITE, *arguments, kill_at=kill.number, kill_after=kill.after)
    # The last tasks may be over sooner than they were when they were recorded.
    assert killed.rc == -9 or (kill.after and killed.rc == 0)
    whole(*arguments)
    hosts.converged = True


@pytest.mark.thorough
def test_two_controllers_on_bare_hosts(hosts, playbook, whole):
    hosts.bare()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(playbook, [SITE, SITE]))
    assert 0 in [run.rc for run in runs]
    whole()
    hosts.converged = True


@pytest.mark.thorough
def test_host_goes_down_while_it_installs_packages(hosts, playbook, whole):
    hosts.bare()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(playbook, SITE)
        on(MASTER, "sh", "-c", "until ls /var/lib/dpkg/updates/[0-9]* 2>/dev/null; do sleep 0.02; done")
        subprocess.run(["docker", "kill", MASTER], check=True, stdout=subprocess.DEVNULL)
        assert run.result().rc != 0
    subprocess.run(["docker", "start", MASTER], check=True, stdout=subprocess.DEVNULL)
    hosts.up(MASTER)
    # What apt says to this is the whole point of the test.
    assert on(MASTER, "sh", "-c", "ls /var/lib/dpkg/updates")
    whole()
    hosts.converged = True
