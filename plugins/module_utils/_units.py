# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What systemd, and the kernel behind it, say of the units of a host."""

from __future__ import annotations

import os
import subprocess

_PROPERTIES = "Id,LoadState,ActiveState,SubState,MainPID,UnitFileState,NeedDaemonReload,NRestarts,Job"


class SystemdError(Exception):
    """systemctl failed."""


def systemctl(*arguments):
    """Runs systemctl and returns what it prints."""
    argv = ["systemctl", "--no-pager", "--no-ask-password"] + list(arguments)
    try:
        finished = subprocess.run(
            argv,
            env=dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SystemdError("cannot run systemctl: %s" % error) from error
    if finished.returncode:
        raise SystemdError("%s failed: %s" % (" ".join(argv), finished.stderr.strip()))
    return finished.stdout


def show(names):
    """State of each unit, by name without `.service`."""
    if not names:
        return {}
    output = systemctl("show", "--property", _PROPERTIES, *[name + ".service" for name in names])
    # One block a name, in the order of the names: the Id in it differs where a name is an alias.
    blocks = output.strip().split("\n\n")
    if len(blocks) != len(names):
        raise SystemdError("systemctl told of %d units when asked about %s" % (len(blocks), ", ".join(names)))
    states = {}
    for name, block in zip(names, blocks):
        found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        pid = int(found.get("MainPID") or 0)
        environment = process_environment(pid)
        active = found.get("ActiveState")
        states[name] = {
            # A unit outlives its file for as long as it runs.
            "exists": found.get("LoadState") != "not-found" or active not in ("inactive", "failed"),
            # Another name of a unit that is called something else.
            "alias": found.get("Id") not in (None, name + ".service"),
            "masked": found.get("LoadState") == "masked",
            "active": active,
            "sub": found.get("SubState"),
            # A static unit says of itself that there is nothing to enable.
            "enabled": found.get("UnitFileState") in ("enabled", "static"),
            "job": bool(found.get("Job")),
            "needs_reload": found.get("NeedDaemonReload") == "yes",
            "restarts": int(found.get("NRestarts") or 0),
            "pid": pid,
            "started": process_started(pid),
            "deployment": environment.get("AIRFLOW_DEPLOYMENT"),
            "unit_digest": environment.get("AIRFLOW_UNIT_DIGEST"),
        }
    return states


def returning(names):
    """Those of the units that systemd is going to start by itself when they have stopped: somebody restarts them."""
    wanted = []
    for line in systemctl("list-jobs", "--no-legend", "--plain").splitlines() if names else []:
        fields = line.split()
        if len(fields) > 2 and fields[2] in ("start", "restart"):
            wanted.append(fields[1])
    return [name for name in names if name + ".service" in wanted]


def process_environment(pid):
    """The environment a process was started with: what it really runs, whatever the files say by now."""
    if not pid:
        return {}
    try:
        with open("/proc/%d/environ" % pid, "rb") as handle:
            content = handle.read()
    except PermissionError as error:
        # Without it every unit would look as if it ran something else than declared.
        raise SystemdError(
            "cannot read the environment of process %d: this needs root, in a container with CAP_SYS_PTRACE" % pid
        ) from error
    except OSError:
        return {}
    pairs = (entry.split(b"=", 1) for entry in content.split(b"\0") if b"=" in entry)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in pairs}


def process_started(pid):
    """Seconds since the epoch at which a process started, 0 when there is none."""
    if not pid:
        return 0
    try:
        with open("/proc/%d/stat" % pid) as handle:
            ticks = int(handle.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/stat") as handle:
            boot = next(int(line.split()[1]) for line in handle if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def journal(name, lines=30):
    """The last lines a unit logged."""
    try:
        finished = subprocess.run(
            ["journalctl", "--no-pager", "--quiet", "--output", "cat", "--unit", name, "--lines", str(lines)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        return "cannot run journalctl: %s" % error
    return finished.stdout.decode("utf-8", "replace").strip()
