# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible import constants as C
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module of the same name, and restarts nothing more in a run once a restart has failed on some host.

    What `throttle` lets through one after the other is under way for all hosts at once: a host that fails does not stop
    the next one. So a configuration that does not start would take down every master.
    """

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        restarts = self._task.args.get("restart", "none") != "none" and not self._task.check_mode
        failed = self._first_failure() if restarts else ""
        if failed:
            result.update(
                failed=True,
                msg="nothing was restarted here, as the restart on %s failed in this run: what runs goes on as it was. "
                "See what is wrong there, then run again" % failed,
            )
            return result
        result.update(self._execute_module(task_vars=task_vars))
        if restarts and result.get("failed"):
            with open(self._note(), "a", encoding="utf-8") as note:
                note.write(task_vars["inventory_hostname"] + "\n")
        return result

    @staticmethod
    def _note():
        """A file of this run of Ansible, which all of its processes see, and which goes with it."""
        return os.path.join(C.DEFAULT_LOCAL_TMP, "dataops.airflow.restart_failed")

    def _first_failure(self):
        try:
            with open(self._note(), encoding="utf-8") as note:
                return note.readline().strip()
        except OSError:
            return ""
