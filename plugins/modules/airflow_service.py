#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_service
short_description: Make the systemd units of a host run what is declared
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Writes unit files, enables them, starts what does not run, and restarts what runs something else than declared.
  - What a unit runs is read from the environment of its running process. No handler and no stamp file has to remember
    that a restart is due, so an interrupted run loses none.
  - A unit that was started is waited for until its component is healthy.
  - A unit that is still stopping, such as a worker that finishes its tasks, is neither started nor restarted but by
    O(restart=all). It is named in RV(stopping), and the next run sees to it.
  - A unit that stops because somebody else restarts it, such as a run that was killed, is reported in RV(stale) and
    waited for by O(restart=stale), so that no other host is restarted meanwhile.
  - A unit that is masked is refused, as somebody keeps it from starting, unless it is O(units.single).
  - When a restart has failed on a host, no other host is restarted in the same run of Ansible. Use C(throttle) to let
    hosts restart one after the other.
attributes:
  check_mode:
    description: Can run in check mode and tell which units would be written, started, restarted or removed.
    support: full
  diff_mode:
    description: Shows the unit files.
    support: full
options:
  units:
    description: Units that run on this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the unit, without C(.service).
        type: str
        required: true
      content:
        description:
          - Text of the unit file. C(@digest@) in it becomes the digest of the text, and has to stand in a line
            C(Environment=AIRFLOW_UNIT_DIGEST=@digest@).
        type: str
        required: true
      single:
        description:
          - Whether the cluster may have only one of the unit. On hosts that do not run it, it is O(masked), so a mask
            that is there comes from that, and is taken off.
        type: bool
        default: false
      late:
        description: Whether the unit is started only when those of the others that have a health of V(job) are healthy.
        type: bool
        default: false
      health:
        description: How to prove that the component lives. Without it, a unit that is active counts as healthy.
        type: dict
        suboptions:
          kind:
            description:
              - V(api) reads the health page of the API server, V(job) a fresh heartbeat in the metadata database.
              - V(worker) wants an answer through the broker, V(port) one on a TCP port.
            type: str
            choices: [api, job, worker, port]
            required: true
          port:
            description: Port of V(api), on the loopback address, and of V(port).
            type: int
          address:
            description: Address of the host on which the port is, of V(port).
            type: str
            default: 127.0.0.1
          path:
            description: Path of the health page, of V(api).
            type: str
          job_type:
            description: Type of the job, of V(job).
            type: str
          worker:
            description: Name of the worker, of V(worker).
            type: str
  files:
    description:
      - Files that the units read, written before them, each in one step. Their directories have to be there.
      - They are shown in the diff, so they are no place for secrets. A unit that should restart with its file names the
        file's digest in O(units.content).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file.
        type: path
        required: true
      content:
        description: The whole text of the file.
        type: str
        required: true
      owner:
        description: The user it belongs to. V(root) by default.
        type: str
      group:
        description: The group it belongs to. V(root) by default.
        type: str
      mode:
        description: Its mode, in octal.
        type: str
        default: "0644"
      validate:
        description:
          - A command that ends with exit code 0 if the file will do, C(%s) being the path of the file before it is put
            in its place. If it does not, what was there stays, and so do all units. It is not run in check mode.
        type: str
  absent:
    description:
      - Units that must not be on this host. They are stopped, and their files removed. Drop-ins of your own stay.
      - A masked unit that does not run is left alone.
    type: list
    elements: str
    default: []
  masked:
    description:
      - Units that must not run on this host, whoever starts them. They are stopped, and only then masked, in the place
        of their files. A unit that does not stop fails the task.
    type: list
    elements: str
    default: []
  restart:
    description:
      - V(none) leaves alone what runs, and reports in RV(stale) what should be restarted.
      - V(stale) restarts what runs something else than its unit file says.
      - V(all) restarts every unit in O(units).
    type: str
    choices: [none, stale, all]
    default: none
  timeout:
    description:
      - Seconds to wait for a unit to start and become healthy.
      - The time a unit needs to stop comes on top, see O(stop_timeout).
    type: int
    default: 300
  stop_timeout:
    description: Seconds to wait for a unit to stop. A worker finishes its tasks first.
    type: int
    default: 300
  venv:
    description: Virtual environment of the release. Needed to ask the health of V(job) and V(worker).
    type: path
  home:
    description: E(AIRFLOW_HOME) of the programs that are run.
    type: path
  config:
    description: Path of the C(airflow.cfg) that the programs read.
    type: path
  user:
    description: The user the programs run as.
    type: str
    default: airflow
"""

EXAMPLES = r"""
- name: Install the scheduler's unit, and start it when it does not run
  dataops.airflow.airflow_service:
    units:
      - name: airflow-scheduler
        content: "{{ lookup('ansible.builtin.template', 'unit.service.j2') }}"
        health:
          kind: job
          job_type: SchedulerJob
    venv: /opt/airflow/current/release
    home: /var/lib/airflow
    config: /opt/airflow/current/airflow.cfg
  register: services

- name: Restart what runs something else, one host at a time
  dataops.airflow.airflow_service:
    units: "{{ units }}"
    restart: stale
  throttle: 1
  when: services.stale | length > 0
"""

RETURN = r"""
stale:
  description:
    - Units whose process runs something else than declared, or is about to be restarted by somebody else, when the
      module ended.
  returned: always
  type: list
  elements: str
  sample: [airflow-scheduler]
files:
  description: Paths in O(files) that were, or in check mode would be, written.
  returned: always
  type: list
  elements: str
  sample: [/etc/haproxy/haproxy.cfg]
written:
  description: Units whose files were, or in check mode would be, written.
  returned: always
  type: list
  elements: str
  sample: [airflow-scheduler]
started:
  description: Units that were, or in check mode would be, started.
  returned: always
  type: list
  elements: str
  sample: [airflow-scheduler]
restarted:
  description: Units that were, or in check mode would be, restarted.
  returned: always
  type: list
  elements: str
  sample: []
stopping:
  description: Units that are still stopping, and were left to it. A file of O(absent) is removed once its unit stopped.
  returned: always
  type: list
  elements: str
  sample: []
masked:
  description: Units that were, or in check mode would be, masked.
  returned: always
  type: list
  elements: str
  sample: []
removed:
  description: Units that were, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import hashlib
import os
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._files import FILE, File
from ..module_utils._health import HEALTH, troubles
from ..module_utils._lock import alone
from ..module_utils._runner import Runner
from ..module_utils._units import SystemdError, journal, returning, show, systemctl

DIRECTORY = "/etc/systemd/system"
LOCK = "/run/airflow-units.lock"
# Seconds for which the health of a unit is asked before its state is looked at again.
PATIENCE = 10


class Unhealthy(Exception):
    """A unit did not become what it should be."""


class Unit:
    """One unit file as declared."""

    def __init__(self, name, content="", health=None, single=False, late=False):
        self.name = name
        self.single = single
        self.late = late
        self.declared = content
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        self.content = content.replace("@digest@", self.digest)
        self.health = health
        self.path = os.path.join(DIRECTORY, name + ".service")

    def on_disk(self):
        """The text of the unit file on this host, empty when there is none or it is another's alias."""
        if os.path.islink(self.path):
            return ""
        try:
            with open(self.path, "rb") as handle:
                return handle.read().decode(errors="replace")
        except OSError:
            return ""

    def write(self):
        """Puts the unit file in place."""
        with open(self.path + ".new", "wb") as handle:
            os.fchmod(handle.fileno(), 0o644)
            handle.write(self.content.encode())
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(self.path + ".new", self.path)


class Host:
    """The units of this host."""

    def __init__(self, module):
        self.module = module
        self.p = module.params
        self.runner = Runner(self.p["venv"], self.p["home"], self.p["config"], self.p["user"])
        self.units = [Unit(**unit) for unit in self.p["units"]]
        lists = ["stale", "files", "written", "started", "restarted", "removed", "masked", "stopping", "diff"]
        self.result = dict({name: [] for name in lists}, changed=False)

    def converge(self):
        """Reads, compares, and unless in check mode applies."""
        states = self._states()
        self._refuse(states)
        self._put()
        self._mask(states)
        self._remove(states)
        enable = [unit for unit in self.units if not states[unit.name]["enabled"]]
        self._write(states, enable)
        # Started now, it would come back although somebody stopped it.
        stopping = [unit for unit in self.units if states[unit.name]["active"] == "deactivating"]
        # A run that was killed, or another one, has asked systemd for these already.
        coming = returning([unit.name for unit in stopping])
        coming = [unit for unit in stopping if unit.name in coming]
        start = [unit for unit in self.units if unit not in stopping and not self._runs(states[unit.name])]
        running = [unit for unit in self.units if unit not in start and unit not in stopping]
        stale = [unit for unit in running if states[unit.name]["unit_digest"] != unit.digest]
        restart = {"none": [], "stale": stale, "all": [unit for unit in self.units if unit not in start]}
        restart = restart[self.p["restart"]]
        wait = coming if self.p["restart"] == "stale" else []
        self.result["stopping"] += [unit.name for unit in stopping if unit not in restart + coming]
        self.result["started"] = [unit.name for unit in start]
        self.result["restarted"] = [unit.name for unit in restart]
        stale = [unit for unit in self.units if unit in stale + coming]
        self.result["stale"] = [unit.name for unit in stale if unit not in restart + wait or self.module.check_mode]
        if enable or start or restart:
            self.result["changed"] = True
        if self.module.check_mode:
            return
        self._start(start, states)
        # All at once: the other hosts carry on meanwhile, and a host is away for the time of its slowest unit only.
        for unit in restart:
            systemctl("restart", "--no-block", unit.name + ".service")
        old_pids = {unit: states[unit.name]["pid"] for unit in restart + wait}
        self._wait(old_pids, self.p["timeout"] + self.p["stop_timeout"])

    @staticmethod
    def _runs(state):
        """Whether a unit is up, or on its way: systemd restarts what failed by itself."""
        return state["active"] == "active" and state["pid"] != 0

    def _states(self):
        return show([unit.name for unit in self.units] + self.p["absent"] + self.p["masked"])

    def _refuse(self, states):
        both = {unit.name for unit in self.units}.intersection(self.p["absent"] + self.p["masked"])
        if both:
            raise Unhealthy("%s is to run on this host and not to be on it" % ", ".join(sorted(both)))
        for unit in self.units:
            if "Environment=AIRFLOW_UNIT_DIGEST=@digest@\n" not in unit.declared:
                raise Unhealthy("the content of %s has no line Environment=AIRFLOW_UNIT_DIGEST=@digest@" % unit.name)
            if states[unit.name]["masked"] and not unit.single:
                raise Unhealthy(
                    "%s is masked on this host, so somebody keeps it from starting: systemctl unmask %s, or take this "
                    "host out of the group that runs it" % (unit.name, unit.name)
                )

    def _put(self):
        """Writes what the units read."""
        for entry in self.p["files"]:
            try:
                shown = File(entry, dict(owner="root", group="root")).settle(self.module.check_mode)
            except (OSError, ValueError) as error:
                raise Unhealthy("cannot make the file %s: %s" % (entry["path"], error)) from error
            if shown:
                self.result["changed"] = True
                self.result["diff"].append(shown)
                self.result["files"].append(entry["path"])

    def _mask(self, states):
        for name in self.p["masked"]:
            state = states[name]
            stopped = state["active"] in ("inactive", "failed") and not state["job"]
            if state["masked"] and stopped:
                continue
            unit = Unit(name)
            self.result["changed"] = True
            self.result["masked"].append(name)
            self.result["diff"].append(
                dict(before=unit.on_disk(), after="masked\n", before_header=unit.path, after_header=unit.path)
            )
            if self.module.check_mode:
                continue
            if not stopped:
                systemctl("stop", "--no-block", name + ".service")
            if not self._stopped(name):
                raise Unhealthy("%s has not stopped after %d seconds" % (name, self.p["stop_timeout"]))
            if unit.on_disk():
                systemctl("disable", "--quiet", name + ".service")
            with alone(LOCK):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unit.path + ".new")
                os.symlink("/dev/null", unit.path + ".new")
                os.replace(unit.path + ".new", unit.path)
                systemctl("daemon-reload")

    def _remove(self, states):
        gone = [
            name
            for name in self.p["absent"]
            if states[name]["exists"]
            and not states[name]["alias"]
            and not (states[name]["masked"] and states[name]["active"] in ("inactive", "failed"))
        ]
        self.result["removed"] = list(gone)
        if not gone:
            return
        self.result["changed"] = True
        for name in gone:
            unit = Unit(name)
            self.result["diff"].append(dict(before=unit.on_disk(), after="", before_header=unit.path))
        if self.module.check_mode:
            return
        systemctl("disable", "--quiet", *[name + ".service" for name in gone])
        systemctl("stop", "--no-block", *[name + ".service" for name in gone])
        for name in gone:
            if not self._stopped(name):
                # Its file tells systemd how to stop it: the next run removes that.
                self.result["removed"].remove(name)
                self.result["stopping"].append(name)
                continue
            path = os.path.join(DIRECTORY, name + ".service")
            if os.path.lexists(path) and not states[name]["masked"]:
                os.unlink(path)
        systemctl("daemon-reload")

    def _stopped(self, name):
        deadline = time.monotonic() + self.p["stop_timeout"]
        while True:
            state = show([name])[name]
            if state["active"] in ("inactive", "failed") and not state["job"]:
                if state["active"] == "failed":
                    systemctl("reset-failed", name + ".service")
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(1)

    def _write(self, states, enable):
        """Writes unit files and has units start at boot; systemd reads both once, after that."""
        different = [unit for unit in self.units if unit.on_disk() != unit.content]
        if different and self.p["config"] and not self.module.check_mode and not os.path.exists(self.p["config"]):
            raise Unhealthy(
                "%s is not on this host, so no unit may name it yet: run site.yml without --tags, or with "
                "--tags user,python,install,config first" % self.p["config"]
            )
        self.result["written"] = [unit.name for unit in different]
        for unit in different:
            self.result["changed"] = True
            self.result["diff"].append(
                dict(before=unit.on_disk(), after=unit.content, before_header=unit.path, after_header=unit.path)
            )
        if self.module.check_mode:
            return
        if different or enable or any(states[unit.name]["needs_reload"] for unit in self.units):
            with alone(LOCK):
                for unit in different:
                    unit.write()
                if enable:
                    systemctl("enable", "--quiet", "--no-reload", *[unit.name + ".service" for unit in enable])
                systemctl("daemon-reload")

    def _start(self, units, states):
        """Starts units and waits for them. Those that are late wait for the heartbeats of the others only, as an API
        server takes longer than both.
        """
        late = [unit for unit in units if unit.late]
        others = [unit for unit in units if not unit.late]
        self._begin(others, states)
        if late:
            beating = [unit for unit in others if unit.health and unit.health["kind"] == "job"]
            self._wait(dict.fromkeys(beating, 0), self.p["timeout"])
            self._begin(late, states)
        self._wait(dict.fromkeys(units, 0), self.p["timeout"])

    @staticmethod
    def _begin(units, states):
        """Starts units, all at once."""
        for unit in units:
            # A unit that systemd gave up on needs this before it may start again.
            if states[unit.name]["active"] == "failed":
                systemctl("reset-failed", unit.name + ".service")
            systemctl("start", "--no-block", unit.name + ".service")

    def _wait(self, waiting, timeout):
        """Waits until units run what is declared, in other processes than `waiting` names, and are healthy."""
        began = progress = time.monotonic()
        why = dict.fromkeys(waiting, "it did not start")
        while waiting:
            states = show([unit.name for unit in waiting])
            up = []
            for unit, old_pid in list(waiting.items()):
                state = states[unit.name]
                renewed = self._runs(state) and state["pid"] != old_pid
                if renewed and state["unit_digest"] == unit.digest:
                    up.append(unit)
                elif state["active"] == "failed" and not state["job"]:
                    raise self._unhealthy(unit, began, "it failed")
                elif unit.on_disk() != unit.content:
                    raise self._unhealthy(
                        unit, began, "another run is at work on this host and wrote another unit file"
                    )
                elif renewed and state["unit_digest"]:
                    # It had begun to start when its file was written.
                    waiting[unit] = state["pid"]
                    systemctl("restart", "--no-block", unit.name + ".service")
                else:
                    why[unit] = "it is %s (%s)" % (state["active"], state["sub"])
            # Those first that are asked without a program of the release: by then the others have come up as well.
            asked = [unit for unit in up if not unit.health or unit.health["kind"] in ("api", "port")] or up
            healths = {unit.name: (unit.health, states[unit.name]) for unit in asked if unit.health}
            found = troubles(healths, self.runner, PATIENCE)
            for unit in asked:
                why[unit] = found.get(unit.name, "")
                if not why[unit]:
                    del waiting[unit]
                    progress = time.monotonic()
            if waiting:
                if time.monotonic() - progress >= timeout:
                    unit = next(iter(waiting))
                    raise self._unhealthy(unit, began, why[unit])
                # What comes up at once is seen at once. What takes longer is at work, and left to it.
                time.sleep(min(max((time.monotonic() - progress) / 5, 0.1), 1))

    @staticmethod
    def _unhealthy(unit, began, why):
        return Unhealthy(
            "%s is not healthy after %d seconds: %s. Its last words:\n%s"
            % (unit.name, time.monotonic() - began, why, journal(unit.name))
        )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            units=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    name=dict(type="str", required=True),
                    content=dict(type="str", required=True),
                    single=dict(type="bool", default=False),
                    late=dict(type="bool", default=False),
                    health=HEALTH,
                ),
            ),
            absent=dict(type="list", elements="str", default=[]),
            masked=dict(type="list", elements="str", default=[]),
            files=dict(type="list", elements="dict", default=[], options=FILE),
            restart=dict(type="str", choices=["none", "stale", "all"], default="none"),
            timeout=dict(type="int", default=300),
            stop_timeout=dict(type="int", default=300),
            venv=dict(type="path"),
            home=dict(type="path"),
            config=dict(type="path"),
            user=dict(type="str", default="airflow"),
        ),
        supports_check_mode=True,
    )
    host = Host(module)
    try:
        host.converge()
    except (SystemdError, OSError, Unhealthy) as error:
        module.fail_json(msg=str(error), **host.result)
    if host.result["stopping"]:
        module.warn("still stopping, and left to it: %s" % ", ".join(host.result["stopping"]))
    module.exit_json(**host.result)


if __name__ == "__main__":
    main()
