# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import tempfile
import time

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Runs the module of the same name, and leaves a process that runs it again until Ansible has ended.

    A task at the end of a run would not be reached by one that fails or is killed, and a silence that is long enough
    for a worker to finish its tasks would hide what breaks after a run that was over in a minute.
    """

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        if not self._task.check_mode and os.path.exists(self._note()):
            return dict(result, changed=False, msg="this run has its silence already")
        result.update(self._execute_module(task_vars=task_vars))
        if result.get("id") and result["id"] != self._task.args.get("id"):
            with open(self._note(), "w", encoding="utf-8"):
                # The workers that tasks run in come and go; their parent is the run.
                self._keep(os.getppid(), result["id"], task_vars)
        return result

    @staticmethod
    def _note():
        """A file of this run of Ansible, which all of its processes see, and which goes with it."""
        return os.path.join(C.DEFAULT_LOCAL_TMP, "dataops.airflow.silence")

    def _keep(self, run, identifier, task_vars):
        """Prolongs the silence from a process of its own for as long as the process `run` is there, then ends it."""
        born = started(run)
        if os.fork():
            return
        try:
            # Neither Ctrl-C nor whoever reads what Ansible writes has anything to do with this process.
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            Display()._final_q = None
            # Ansible takes its own away when it ends.
            C.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(prefix="dataops-airflow-silence-")
            try:
                identifier = self._prolong(run, born, identifier, task_vars)
                arguments = dict(self._task.args, id=identifier, state="absent")
                self._execute_module(module_args=arguments, task_vars=task_vars)
            finally:
                shutil.rmtree(C.DEFAULT_LOCAL_TMP, ignore_errors=True)
        finally:
            os._exit(0)

    def _prolong(self, run, born, identifier, task_vars):
        lease = int(self._task.args.get("lease") or 60)
        due = time.monotonic() + lease / 2
        while started(run) == born:
            time.sleep(0.5)
            if time.monotonic() >= due:
                due = time.monotonic() + lease / 2
                arguments = dict(self._task.args, id=identifier)
                # Alertmanager makes another one of a silence that it cannot prolong.
                identifier = self._execute_module(module_args=arguments, task_vars=task_vars).get("id") or identifier
        return identifier


def started(pid):
    """What tells a process from another one that has its number later, None when there is none."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        # Without /proc, that there is one has to do.
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return pid
    return None if fields[0] == "Z" else fields[19]
