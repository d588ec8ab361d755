# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module of the same name, and compares the host's clock with the controller's around the call."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        called = time.time()
        arguments = dict(self._task.args, controller_time=called)
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        ahead = result.get("clock", 0) - time.time()
        bound = int(arguments.get("clock_bound") or 10)
        if ahead > bound:
            result["problems"].append(
                "airflow_preflight_clock_bound: the clock is %d s ahead of the controller's, and %d s are allowed: run "
                "a time service, such as chrony" % (ahead, bound)
            )
        return result
