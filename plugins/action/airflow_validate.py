# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ..module_utils._releases import UnknownRelease, release
from ..plugin_utils._deployment import InvalidOptions, build, outline
from ..plugin_utils._gate import problems, singles
from ..plugin_utils._options import lost

# What a deployment is made of.
PARTS = ("release_path", "root", "options", "environment", "files", "secret_files")


class ActionModule(ActionBase):
    """Looks at what a host declares, on the controller. See the module of the same name for its documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        declared = self._task.args["declared"]
        result.update(version=declared["version"], deployment=None, single=[], warnings=[], changed=False)
        # All else is made of what AWS would have answered.
        if declared.get("unanswered"):
            result["problems"] = ["%s: %s" % tuple(problem) for problem in declared["unanswered"]]
            return result
        try:
            facts = release(declared["version"])
        except UnknownRelease as error:
            found = [("airflow_version", str(error), "choose a supported version")]
        else:
            found = problems(declared, facts)
            result["single"] = singles(declared, facts)
            result["warnings"] += [
                "airflow_cfg.%s has no effect: Airflow %s has no such option, as %s" % (key, facts["version"], why)
                for key, why in sorted(lost(facts, declared["cfg"], declared["home"]).items())
            ]
            try:
                result["deployment"] = outline(build(facts, *(declared[name] for name in PARTS)))
            except InvalidOptions as error:
                found.append(("airflow_options", str(error), "correct it"))
        result["warnings"] += declared.get("advice") or []
        result["problems"] = ["%s: %s: %s" % problem for problem in found]
        return result
