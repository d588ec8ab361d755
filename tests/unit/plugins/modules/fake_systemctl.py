# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A systemctl that keeps its units in a file, with the habits of systemd 252 that matter; their processes are real."""

from __future__ import annotations

import json
import os

NEW = {"active": "inactive", "pid": 0, "enabled": False, "loaded": None, "job": "", "habit": ""}


class Failed(Exception):
    pass


class Disk:
    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        return os.path.join(self.directory, name + ".service")

    def text(self, name):
        try:
            with open(self.path(name)) as handle:
                return handle.read()
        except OSError:
            return None

    def masked(self, name):
        return os.path.realpath(self.path(name)) == "/dev/null"


def launch(unit):
    """Runs what systemd has loaded, which need not be what is on disk."""
    lines = [line[len("Environment=") :] for line in unit["loaded"].splitlines() if line.startswith("Environment=")]
    environment = dict(line.split("=", 1) for line in lines)
    # Returns after exec, as a unit of Type=exec is not active before.
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], environment, setsid=True)
    unit.update(active="active", pid=pid, job="")


def kill(unit):
    if unit["pid"]:
        try:
            os.kill(unit["pid"], 9)
            os.waitpid(unit["pid"], 0)
        except (ChildProcessError, ProcessLookupError):
            pass
    unit.update(active="inactive", pid=0)


def systemctl(directory, path, argv):
    """What systemctl would print."""
    disk = Disk(directory)
    with open(path) as handle:
        state = json.load(handle)
    arguments = [argument for argument in argv if not argument.startswith("--")]
    verb, names = arguments[0], [name[: -len(".service")] for name in arguments[1:] if name.endswith(".service")]
    if verb == "list-jobs":
        jobs = [(name, unit["job"]) for name, unit in sorted(state["units"].items()) if unit["job"]]
        return "".join("7 %s.service %s running\n" % job for job in jobs)
    if verb != "show":
        state["log"].append(" ".join([verb] + names))
    units = state["units"]
    for name in names:
        unit = units.setdefault(name, dict(NEW))
        if unit["loaded"] is None and not disk.masked(name):
            unit["loaded"] = disk.text(name)
    blocks = []
    for name in names:
        unit = units[name]
        if verb == "show":
            # What a test wants to happen next, one step a look.
            if unit["habit"].startswith("drains:"):
                left = int(unit["habit"].split(":")[1]) - 1
                unit["habit"] = "drains:%d" % left if left else ""
                if not left:
                    job = unit["job"]
                    kill(unit)
                    unit["job"] = ""
                    if job == "start":
                        launch(unit)
            load = "masked" if disk.masked(name) else "loaded" if unit["loaded"] else "not-found"
            file = (
                "masked"
                if disk.masked(name)
                else "enabled"
                if unit["enabled"]
                else "disabled"
                if disk.text(name)
                else ""
            )
            need = bool(unit["loaded"]) and disk.text(name) != unit["loaded"]
            blocks.append(
                "MainPID={}\nNRestarts=0\nId={}.service\nLoadState={}\nActiveState={}\nSubState=sub\n"
                "UnitFileState={}\nJob={}\nNeedDaemonReload={}\n".format(
                    unit["pid"], name, load, unit["active"], file, unit["job"] and "7", "yes" if need else "no"
                )
            )
        elif verb in ("enable", "start", "restart") and disk.masked(name):
            raise Failed("Failed to %s unit: Unit %s.service is masked." % (verb, name))
        elif verb in ("enable", "start", "restart") and not unit["loaded"]:
            raise Failed("Failed to %s unit: Unit file %s.service does not exist." % (verb, name))
        elif verb in ("enable", "disable"):
            unit["enabled"] = verb == "enable"
        elif verb == "reset-failed":
            unit["active"] = "inactive" if unit["active"] == "failed" else unit["active"]
        elif verb == "stop" and unit["active"] == "failed":
            pass
        elif verb == "stop" or verb == "restart" or (verb == "start" and unit["active"] == "deactivating"):
            if unit["habit"].startswith("drains:"):
                unit.update(active="deactivating", job="stop" if verb == "stop" else "start")
            else:
                kill(unit)
                if verb != "stop":
                    launch(unit)
        elif verb == "start" and unit["habit"] == "fails":
            unit["active"] = "failed"
        elif verb == "start" and unit["active"] != "active":
            launch(unit)
    if verb == "daemon-reload":
        for name, unit in units.items():
            unit["loaded"] = None if disk.masked(name) else disk.text(name)
    with open(path, "w") as handle:
        json.dump(state, handle)
    return "\n".join(blocks)
