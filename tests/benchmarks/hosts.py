# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of the benchmarks, systemd containers as those of the demo, and runs of Ansible on them.

Over SSH, as on hosts of one's own: what it costs to reach a host is part of what is measured.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import resource
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".cache/benchmarks"
LOG = PLACE / "log"
SECRETS = PLACE / "secrets"
BASE_IMAGE = "dataops-airflow-base:bookworm"
IMAGE = "dataops-airflow-bench:bookworm"
DOCKERFILE = """
FROM %s
RUN DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends openssh-server && apt-get clean
RUN printf 'LogLevel VERBOSE\\nPermitRootLogin prohibit-password\\n' >/etc/ssh/sshd_config.d/bench.conf
"""
KEY = PLACE / "key"
SSH_CONFIG = PLACE / "ssh_config"
CACHE_VOLUME = "dataops-airflow-uv-cache"
NETWORK = "airflow-bench"
SUBNET = "172.30.99.0/24"
# What begins the names of hosts that were put aside.
ASIDE = "aside-"

SERVERS = ["db1", "broker1"]
MASTERS = ["m1", "m2", "m3"]


# The hosts that the last run of site.yml of cluster() left converged.
converged: list[str] = []


def workers(number, first=1):
    return ["w%d" % index for index in range(first, first + number)]


class Failed(Exception):
    """A command that a benchmark cannot do without went wrong."""


class Run(NamedTuple):
    """What a command took: seconds on the clock, and seconds of this machine's processors outside the hosts."""

    wall: float
    cpu: float


def run(*command):
    """Runs a command to its end. What it says goes to the log."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write("\n### %s\n" % " ".join(command))
        log.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failed("%s: exit code %d, see the end of %s" % (" ".join(command)[:100], done.returncode, LOG))
    return Run(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def output(*command, said="", **variables):
    """What a command says that is told `said`."""
    environment = dict(os.environ, **variables)
    done = subprocess.run(command, cwd=ROOT, env=environment, input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed("%s: %s" % (" ".join(command)[:100], (done.stderr.strip() or done.stdout.strip())[-2000:]))
    return done.stdout


def container(host):
    return "airflow-bench-" + host


def sh(host, script):
    """What a script says on a host."""
    return output("docker", "exec", container(host), "sh", "-ec", script)


# --- hosts


def existing():
    """Names of the hosts that are there."""
    prefix = container("")
    names = output("docker", "ps", "--all", "--filter", "name=^%s" % prefix, "--format", "{{.Names}}").split()
    return [name[len(prefix) :] for name in names]


def create(hosts):
    """Bare hosts with these names; those that are there already are left alone."""
    there = existing()
    missing = [host for host in hosts if host not in there]
    if not missing:
        return
    output("docker", "build", "--quiet", "--tag", IMAGE, "-", said=DOCKERFILE % BASE_IMAGE)
    if not KEY.exists():
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(KEY))
    if not output("docker", "network", "ls", "--quiet", "--filter", "name=^%s$" % NETWORK).strip():
        output("docker", "network", "create", "--subnet", SUBNET, NETWORK)
    for host in missing:
        output(
            *["docker", "run", "--detach", "--label", "owner=bench", "--name", container(host), "--hostname", host],
            *["--network", NETWORK, "--network-alias", host, "--cgroupns", "host"],
            # systemd needs these; --privileged would do as well, but some machines do not grant it.
            *[word for name in ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE") for word in ("--cap-add", name)],
            *["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"],
            *[word for path in ("/run", "/run/lock", "/tmp") for word in ("--tmpfs", path)],
            *["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--volume", CACHE_VOLUME + ":/var/cache/airflow-uv"],
            *["--volume", "%s.pub:/root/.ssh/authorized_keys:ro" % KEY],
            *[IMAGE, "sh", "-c", "mount --make-rshared / && exec /sbin/init"],
        )
    for host in missing:
        sh(
            host,
            "until systemctl is-system-running --wait 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.2; done",
        )
    reachable()


def reachable():
    """Lets ssh know the hosts that are there by their names."""
    template = '{{ (index .NetworkSettings.Networks "%s").IPAddress }}' % NETWORK
    names = existing()
    addresses = output("docker", "inspect", "--format", template, *map(container, names)).split()
    lines = ["Host %s\n    HostName %s" % pair for pair in zip(names, addresses)]
    # Hosts come and go under the same addresses, each with the host key of the image.
    lines += ["Host *", "    User root", "    IdentityFile %s" % KEY, "    LogLevel ERROR"]
    lines += ["    StrictHostKeyChecking no", "    UserKnownHostsFile /dev/null"]
    lines += ["    ServerAliveInterval 2", "    ServerAliveCountMax 2"]
    # One connection a host, as Ansible does it with a ControlPath of its own.
    lines += ["    ControlMaster auto", "    ControlPersist 60", "    ControlPath %s/ssh-%%h" % PLACE]
    SSH_CONFIG.write_text("\n".join(lines) + "\n", encoding="utf-8")


def remove(hosts=None):
    """Removes these hosts; all of them, those put aside and their network, by default."""
    converged.clear()
    names = [container(host) for host in (existing() if hosts is None else hosts)]
    if names:
        output("docker", "rm", "--force", "--volumes", *names)
    if hosts is None:
        sweep()
        subprocess.run(["docker", "network", "rm", NETWORK], capture_output=True, check=False)


def put_aside(hosts=None):
    """Stops these hosts, all of them by default, and lets their names go.

    For minutes after files were removed, ext4 without a journal goes past their inodes one by one for each new file
    (recently_deleted() in fs/ext4/ialloc.c). That cost whatever was measured next up to 20 s, sometimes this side and
    sometimes the other.
    """
    converged.clear()
    names = [container(host) for host in (existing() if hosts is None else hosts)]
    if names:
        output("docker", "stop", "--time", "1", *names)
    for name in names:
        output("docker", "rename", name, "%s%s-%d" % (ASIDE, name, time.monotonic_ns()))


def sweep():
    """Removes the hosts that were put aside."""
    names = output("docker", "ps", "--all", "--filter", "name=^%s" % ASIDE, "--format", "{{.Names}}").split()
    if names:
        output("docker", "rm", "--force", "--volumes", *names)


def bare(hosts):
    """Just these hosts, made anew."""
    put_aside()
    # The database is a new one as well.
    shutil.rmtree(SECRETS, ignore_errors=True)
    create(hosts)


# --- Ansible


def inventory(masters, worker_names, name="cluster", others=()):
    """Writes an inventory of these hosts, which has the variables of the demo, and returns its directory.

    `others` are workers without a container: each has that of one of the workers.
    """
    place = PLACE / name
    place.mkdir(parents=True, exist_ok=True)
    SECRETS.mkdir(parents=True, exist_ok=True, mode=0o700)
    for link, target in (("group_vars", ROOT / "inventories/demo/group_vars"), (".secrets", SECRETS)):
        if not (place / link).is_symlink():
            (place / link).symlink_to(target)

    def members(hosts):
        return {host: {} for host in hosts}

    stand_ins = {
        host: {"ansible_host": real, "airflow_address": real}
        for host, real in zip(others, itertools.cycle(worker_names))
    }
    groups = {
        "master": {"hosts": members(masters)},
        # Many workers on one machine: each takes one task at a time.
        "worker": {"hosts": {**members(worker_names), **stand_ins}, "vars": {"airflow_service_worker_concurrency": 1}},
        "database": {"hosts": members(["db1"])},
        "broker": {"hosts": members(["broker1"])},
    }
    connection = {
        "ansible_ssh_common_args": "-F %s" % SSH_CONFIG,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    (place / "hosts.yml").write_text(json.dumps({"all": {"vars": connection, "children": groups}}, indent=2) + "\n")
    return place


def play(playbook, place, *options):
    return run("ansible-playbook", str(playbook), "-i", str(place), *options)


def cluster(masters, worker_names):
    """A converged cluster of just these hosts, made of the one that is there. Returns its inventory."""
    hosts = SERVERS + masters + worker_names
    if hosts == converged:
        return inventory(masters, worker_names)
    if "db1" in existing():
        remove([host for host in existing() if host not in hosts])
        create(hosts)
    else:
        bare(hosts)
    place = inventory(masters, worker_names)
    play("site.yml", place)
    converged[:] = hosts
    return place


def tasks(playbook, place, *options):
    """Seconds that each task of a playbook took, by its name."""
    command = ["ansible-playbook", str(playbook), "-i", str(place), *options]
    told = json.loads(output(*command, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"))
    ended = [task["task"] for play in told["plays"] for task in play["tasks"] if "end" in task["task"]["duration"]]
    return {task["name"]: seconds(task["duration"]) for task in ended}


def seconds(duration):
    """From the start to the end of a task."""
    start, end = (datetime.fromisoformat(duration[name]) for name in ("start", "end"))
    return (end - start).total_seconds()


def sessions():
    """How often something was run over SSH on each host: with pipelining each is the run of a module."""
    script = "journalctl --unit ssh --output cat | grep --count 'Starting session: command' || true"
    return collections.Counter({host: int(sh(host, script)) for host in existing()})


def probe(host, program, *arguments):
    """What a program of this directory says on a host, run beside the collection's module_utils."""
    library = ROOT / "plugins/module_utils"
    output("docker", "exec", container(host), "mkdir", "--parents", "/root/probe")
    output("docker", "cp", "--quiet", str(library), container(host) + ":/root/probe/")
    text = (Path(__file__).parent / program).read_text(encoding="utf-8")
    return output("docker", "exec", container(host), "python3", "-c", text, *map(str, arguments))
