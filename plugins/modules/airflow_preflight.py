#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_preflight
short_description: Find what on a host would stop a deployment, before it is changed
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Looks at the system, the interpreter, the disk, the ports, the clock and the network of a host, with nothing but
    what every host has.
  - It never fails because of what it finds, but returns it, so that the problems of all hosts can be reported at once.
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
options:
  systems:
    description: Supported systems, each as C(ID VERSION_ID) of C(/etc/os-release), or as C(ID) for any version.
    type: list
    elements: str
    required: true
  python:
    description: The interpreter of the release, if the host is to have one.
    type: path
  python_versions:
    description: Versions of it that the release supports.
    type: list
    elements: str
    default: []
  resolve:
    description: Names that the host must resolve.
    type: list
    elements: str
    default: []
  own_names:
    description: Names that workers give themselves, see RV(name). The host must resolve them to fetch logs of tasks.
    type: list
    elements: str
    default: []
  connect:
    description: Servers that the host must reach.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name or address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      variable:
        description: The variable that names the server.
        type: str
        required: true
      kind:
        description: What the server is. Needed where O(connect[].tls) is on.
        type: str
        choices: [postgresql, mysql, redis]
      tls:
        description:
          - How far TLS to the server is tried. V(encrypt) verifies nothing, V(authority) who signed the certificate,
            and V(name) also whom it is for.
        type: str
        choices: ['off', encrypt, authority, name]
        default: 'off'
      ca_file:
        description: The certificate of the authority. By default those that the system trusts.
        type: path
      ca_variable:
        description: The variable that names O(connect[].ca_file).
        type: str
  ports:
    description: Ports that the host's own units will listen on. One that a stranger listens on is a problem.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: TCP port.
        type: int
        required: true
      unit:
        description: The unit that may listen on it, without C(.service).
        type: str
        required: true
      variable:
        description: The variable that sets the port.
        type: str
        required: true
  users:
    description: Users that tasks may run as. Each has to exist, and to be another than root.
    type: list
    elements: str
    default: []
  directories:
    description: Directories that the host's units are given to write to. Each has to exist.
    type: list
    elements: path
    default: []
  path:
    description: Where the release goes. Its file system needs O(space), unless O(release) is there already.
    type: path
    required: true
  release:
    description: The virtual environment of the release, if the host is to have one.
    type: path
  space:
    description: Free space that a new release needs, in MiB.
    type: int
    default: 1500
  demand:
    description: What the host needs memory for. More than it has is a problem.
    type: dict
    suboptions:
      components:
        description: Memory that each component takes without any task, by its name, in MiB.
        type: dict
        required: true
      tasks:
        description: Tasks that run at once as processes of the host.
        type: int
        required: true
      task_memory:
        description: Memory that each of them takes, in MiB.
        type: int
        required: true
      variable:
        description: The variable that sets O(demand.tasks).
        type: str
        required: true
  units:
    description: Units of which to tell what they run.
    type: list
    elements: str
    default: []
  leftovers:
    description:
      - What only some hosts have, and roles remove from others. An absolute path, or the name of a unit without
        C(.service).
      - What is found of it is told, so that nobody has to look again.
    type: list
    elements: str
    default: []
  controller_time:
    description:
      - Seconds since the epoch, on the controller, when the module was called.
      - It is filled in by the action of the same name.
    type: float
  clock_bound:
    description: Seconds that the clocks of host and controller may differ.
    type: int
    default: 10
  timeout:
    description: Seconds to wait for a server that does not answer.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Look at the host
  dataops.airflow.airflow_preflight:
    systems: [debian 12]
    python: /usr/bin/python3
    python_versions: ["3.11"]
    path: /opt/airflow
    release: /opt/airflow/releases/3.3.2
    connect:
      - host: db1
        port: 5432
        variable: airflow_database_host
"""

RETURN = r"""
problems:
  description: What is wrong. Each names the variable and the fix.
  returned: always
  type: list
  elements: str
  sample: ["airflow_database_host: nothing answers on db1 port 5432: start it, or open the way to it"]
python:
  description: Version of the interpreter.
  returned: always
  type: str
  sample: "3.11"
name:
  description: The host's own name for itself, as Airflow finds it.
  returned: always
  type: str
  sample: w1.example.com
clock:
  description: Seconds since the epoch on the host.
  returned: always
  type: float
  sample: 1795316400.25
cpus:
  description: CPUs that processes may run on.
  returned: always
  type: int
  sample: 4
memory:
  description: Memory of the host, in MiB.
  returned: always
  type: int
  sample: 15884
running:
  description: The deployment that each unit of O(units) runs, of those that run.
  returned: always
  type: dict
  sample: {airflow-scheduler: 0f3a9be41c22}
releases:
  description: The virtual environments that the units of O(units) run from.
  returned: always
  type: list
  elements: str
  sample: [/opt/airflow/releases/3.3.2-0be18504e633]
leftovers:
  description: Those of O(leftovers) that the host has. All of them where nobody may look, or systemd does not run.
  returned: always
  type: list
  elements: str
  sample: [airflow-statsd]
"""

import os
import pwd
import shutil
import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _capacity
from ..module_utils._tls import trouble as tls_trouble
from ..module_utils._units import SystemdError, process_environment, show


def system():
    """ID and VERSION_ID of the host's system."""
    found = {}
    try:
        with open("/etc/os-release") as handle:
            for line in handle:
                name, equals, value = line.strip().partition("=")
                found[name] = value.strip("\"'")
    except OSError:
        pass
    return found.get("ID", "unknown"), found.get("VERSION_ID", "")


def check_system(p):
    """The system is a supported one, and systemd runs it."""
    name, version = system()
    if name not in p["systems"] and "%s %s" % (name, version) not in p["systems"]:
        yield "airflow_preflight_systems: the system %s %s is not supported: use a host with %s" % (
            name,
            version,
            " or ".join(p["systems"]),
        )
    if not os.path.isdir("/run/systemd/system"):
        yield "systemd does not run this host, and Airflow's services need it: use a host that it runs"


def not_root():
    """What is wrong where the connection's user is not root: all that follows needs it."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return "ansible_become: the user %s is not root, and does not become it: set ansible_become to true" % user


def python_version(python):
    """The version of an interpreter, empty when it cannot be run."""
    try:
        return subprocess.check_output(
            [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def check_python(p, version):
    """The interpreter is there, and of a version that the release supports."""
    if not p["python"]:
        return
    if not version:
        yield "airflow_python_executable: %s cannot be run: install it, or name another" % p["python"]
    elif version not in p["python_versions"]:
        yield "airflow_python_executable: %s is Python %s, and the release needs one of %s: name another" % (
            p["python"],
            version,
            ", ".join(p["python_versions"]),
        )


def check_names(p):
    """Names resolve."""
    for name in p["resolve"]:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            yield "airflow_address: the name %s does not resolve: add it to DNS or /etc/hosts, or set %s" % (
                name,
                "airflow_address of that host to its address",
            )


def own_name():
    """As airflow.utils.net.getfqdn finds it: a worker is asked for logs by that name."""
    name = socket.gethostname()
    try:
        for address in socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, 0, socket.AI_CANONNAME):
            if address[3]:
                return address[3]
    except OSError:
        pass
    return name


def check_own_names(p):
    """The logs of tasks can be fetched."""
    for name in p["own_names"]:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            yield "airflow_options.core.hostname_callable: a worker calls itself %s (hostname -f), %s" % (
                name,
                "and that name does not resolve here, so its logs cannot be read: add it to DNS or /etc/hosts",
            )


def check_servers(p):
    """Servers answer."""
    for server in p["connect"]:
        try:
            with socket.create_connection((server["host"], server["port"]), timeout=p["timeout"]) as connection:
                trouble = tls_trouble(connection, server) if server["tls"] != "off" else ""
            if trouble:
                yield trouble
        except socket.gaierror:
            yield "%s: the name %s does not resolve: correct it, or add it to DNS" % (
                server["variable"],
                server["host"],
            )
        except OSError as error:
            yield "%s: nothing answers on %s port %s (%s): start it, or open the way to it" % (
                server["variable"],
                server["host"],
                server["port"],
                error.strerror or error,
            )


def listeners():
    """Inodes of the listening sockets, by port."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as handle:
                lines = handle.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A":
                found.setdefault(int(fields[1].rsplit(":", 1)[1], 16), set()).add(fields[9])
    return found


def open_files(pid):
    """What a process has open. Files come and go while one looks."""
    found = set()
    for number in os.listdir("/proc/%s/fd" % pid):
        try:
            found.add(os.readlink("/proc/%s/fd/%s" % (pid, number)))
        except OSError:
            continue
    return found


def owner(inodes):
    """Unit and command of the process that holds one of the sockets."""
    wanted = {"socket:[%s]" % inode for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if not open_files(pid) & wanted:
                continue
            with open("/proc/%s/cgroup" % pid) as handle:
                cgroups = handle.read()
            with open("/proc/%s/comm" % pid) as handle:
                return cgroups, handle.read().strip()
        except OSError:
            continue
    return "", "another process"


def check_ports(p):
    """Ports are free, or held by the unit that is to have them."""
    listening = listeners()
    for wanted in p["ports"]:
        if wanted["port"] not in listening:
            continue
        cgroups, command = owner(listening[wanted["port"]])
        if "/%s.service" % wanted["unit"] not in cgroups:
            yield "%s: port %s is taken by %s: stop that, or choose another port" % (
                wanted["variable"],
                wanted["port"],
                command,
            )


def check_users(p):
    """Users of tasks exist, and are not root under another name."""
    for name in p["users"]:
        try:
            root = pwd.getpwnam(name).pw_uid == 0
        except KeyError:
            yield "airflow_impersonation_users: there is no user %s: create it on each host that runs tasks, or %s" % (
                name,
                "take it out of the list",
            )
        else:
            if root:
                yield "airflow_impersonation_users: %s is root by its number: take it out of the list" % name


def check_directories(p):
    """Units start only if what they may write to is there."""
    for path in p["directories"]:
        if not os.path.isdir(path):
            yield "airflow_service_read_write_paths: there is no directory %s: create it, or %s" % (
                path,
                "take it out of the list",
            )


def check_space(p):
    """A release that is still to be built finds room."""
    if not p["release"] or os.path.exists(p["release"]):
        return
    path = p["path"]
    while not os.path.exists(path):
        path = os.path.dirname(path)
    free = shutil.disk_usage(path).free // 1048576
    if free < p["space"]:
        yield "airflow_root: %s has %d MiB free, and a release needs %d: make room, or choose another place" % (
            p["path"],
            free,
            p["space"],
        )


def check_memory(p, memory):
    """What is to run finds room, as far as it is known before it runs."""
    demand = p["demand"]
    if not demand:
        return
    base, each = sum(demand["components"].values()), demand["task_memory"]
    if base + demand["tasks"] * each <= memory:
        return
    parts = " + ".join("%s %d" % (name, part) for name, part in sorted(demand["components"].items()))
    room = max(0, memory - base) // each if each else 0
    if demand["tasks"] and room:
        yield (
            "%s: %d tasks of %d MiB (airflow_task_memory) and %s MiB need %d MiB, and the host has %d: set it to %d or "
            "less, or give the host more memory"
            % (demand["variable"], demand["tasks"], each, parts, base + demand["tasks"] * each, memory, room)
        )
    else:
        yield (
            "airflow_components: %s MiB%s need %d MiB, and the host has %d: give it more memory, or move components to "
            "other hosts"
            % (
                parts,
                " and a task of %d MiB (airflow_task_memory)" % each if demand["tasks"] else "",
                base + (each if demand["tasks"] else 0),
                memory,
            )
        )


def check_clock(p, now):
    """The clock agrees with the controller's. Tokens of Airflow 3 are refused when clocks differ by more than 10 s."""
    if p["controller_time"] is None:
        return
    behind = p["controller_time"] - now
    # How long the call took cannot be told from a clock that is ahead: the action adds what it knows.
    if behind > p["clock_bound"]:
        yield (
            "airflow_preflight_clock_bound: the clock is %d s behind the controller's, and %d s are allowed: run a "
            "time service, such as chrony" % (behind, p["clock_bound"])
        )


def leftovers(p, states):
    """What roles would remove, and is there."""
    return [
        name for name in p["leftovers"] if (os.path.lexists(name) if name.startswith("/") else states[name]["exists"])
    ]


def main():
    module = AnsibleModule(
        argument_spec=dict(
            systems=dict(type="list", elements="str", required=True),
            python=dict(type="path"),
            python_versions=dict(type="list", elements="str", default=[]),
            resolve=dict(type="list", elements="str", default=[]),
            own_names=dict(type="list", elements="str", default=[]),
            connect=dict(
                type="list",
                elements="dict",
                default=[],
                options=dict(
                    host=dict(type="str", required=True),
                    port=dict(type="int", required=True),
                    variable=dict(type="str", required=True),
                    kind=dict(type="str", choices=["postgresql", "mysql", "redis"]),
                    tls=dict(type="str", choices=["off", "encrypt", "authority", "name"], default="off"),
                    ca_file=dict(type="path"),
                    ca_variable=dict(type="str"),
                ),
            ),
            ports=dict(
                type="list",
                elements="dict",
                default=[],
                options=dict(
                    port=dict(type="int", required=True),
                    unit=dict(type="str", required=True),
                    variable=dict(type="str", required=True),
                ),
            ),
            users=dict(type="list", elements="str", default=[]),
            directories=dict(type="list", elements="path", default=[]),
            path=dict(type="path", required=True),
            release=dict(type="path"),
            space=dict(type="int", default=1500),
            demand=dict(
                type="dict",
                options=dict(
                    components=dict(type="dict", required=True),
                    tasks=dict(type="int", required=True),
                    task_memory=dict(type="int", required=True),
                    variable=dict(type="str", required=True),
                ),
            ),
            units=dict(type="list", elements="str", default=[]),
            leftovers=dict(type="list", elements="str", default=[]),
            controller_time=dict(type="float"),
            clock_bound=dict(type="int", default=10),
            timeout=dict(type="int", default=3),
        ),
        supports_check_mode=True,
    )
    p = module.params
    now = time.time()
    version = python_version(p["python"]) if p["python"] else ""
    root = os.geteuid() == 0
    problems = list(check_system(p)) + list(check_python(p, version)) + list(check_space(p))
    problems += list(check_names(p)) + list(check_own_names(p)) + list(check_servers(p)) + list(check_clock(p, now))
    memory = _capacity.memory()
    problems += list(check_users(p)) + list(check_directories(p)) + list(check_memory(p, memory))
    # Whose a port is, and what a process runs, is for root alone to see.
    problems += list(check_ports(p)) if root else [not_root()]
    known = root and os.path.isdir("/run/systemd/system")
    units = [name for name in p["leftovers"] if not name.startswith("/")]
    try:
        states = show(p["units"] + units) if known else {}
    except SystemdError as error:
        module.fail_json(msg=str(error))
    running = {name: states[name] for name in p["units"] if name in states and states[name]["pid"]}
    releases = {process_environment(state["pid"]).get("VIRTUAL_ENV") for state in running.values()} - {None}
    module.exit_json(
        changed=False,
        problems=problems,
        python=version,
        name=own_name(),
        clock=now,
        cpus=_capacity.cpus(),
        memory=memory,
        running={name: state["deployment"] for name, state in running.items()},
        releases=sorted(releases),
        leftovers=leftovers(p, states) if known else p["leftovers"],
    )


if __name__ == "__main__":
    main()
