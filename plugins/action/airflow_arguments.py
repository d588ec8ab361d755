# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.datatag import native_type_name
from ansible.plugins.action import ActionBase

from ..plugin_utils._options import OWN

ROLES = Path(__file__).resolve().parents[2] / "roles"
# What is no list or dict at once is no value for the templates of the roles, which convert nothing.
STRICT = {"dict": dict, "list": list}
# Dicts of dicts.
NESTED = ("airflow_options", "airflow_service_hardening")
NO_VALUE = "%s: it has no value: write one, or take it out"


class ActionModule(ActionBase):
    """Looks at a host's variables, on the controller. See the module of the same name for its documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        problems, own = [], defaults()
        for name, option in sorted(options().items()):
            if name not in task_vars:
                continue
            try:
                # The collection's own defaults have been looked at: some of them take long to compute.
                if name in own and task_vars[name] == own[name]:
                    continue
                value = self._templar.template(task_vars[name])
            except AnsibleError:
                # What needs it tells so, and better.
                continue
            problems += wrong(name, option, value) if value is not None else missing(name, own)
        return dict(result, changed=False, problems=problems)


def options():
    """The variables of all roles, as the roles' argument specifications describe them."""
    specifications = [yaml_load(path.read_text(encoding="utf-8")) for path in ROLES.glob("*/meta/argument_specs.yml")]
    entry_points = [entry for found in specifications for entry in found["argument_specs"].values()]
    return {name: option for entry in entry_points for name, option in entry.get("options", {}).items()}


def defaults():
    """The roles' defaults, as they are written."""
    found = {}
    for path in ROLES.glob("*/defaults/main.yml"):
        found.update(yaml_load(path.read_text(encoding="utf-8")) or {})
    return found


def missing(name, own):
    """What is wrong with a variable that is null: nothing where the default is, or may be by what it says."""
    if own.get(name) is None or re.search(r"\bnone\b", str(own[name])):
        return []
    return [NO_VALUE % name]


def wrong(name, option, value):
    """What is wrong with the value of a variable, each with what to write instead."""
    it_is = "%s: it is of type %s: " % (name, native_type_name(value))
    strict = STRICT.get(option["type"])
    if strict and not isinstance(value, strict):
        return [it_is + "write a %s, as docs/VARIABLES.md has it" % option["type"]]
    if option["type"] == "str":
        if isinstance(value, (bool, dict)) or isinstance(value, list) and not name.endswith("hosts"):
            return [it_is + "write a text, as docs/VARIABLES.md has it"]
        # YAML reads 0123 as 83, and 1:30 as 90.
        if isinstance(value, (int, float)):
            return [it_is + "write it in quotes"]
    checked = ArgumentSpecValidator({name: option}).validate({name: value}, validate_role_argument_spec=True)
    wanted = option["type"] + (" of " + option["elements"] if "elements" in option else "")
    found = [
        "%s: %s: write a value of type %s, as docs/VARIABLES.md has it"
        % (name, remove_values(message.replace("argument '%s' is" % name, "it is"), checked._no_log_values), wanted)
        for message in checked.error_messages
    ]
    if name in NESTED:
        found += [
            "%s.%s: it is of type %s: write a dict" % (name, key, native_type_name(content))
            for key, content in value.items()
            if not isinstance(content, (dict, type(None)))
        ]
    if name == "airflow_cfg":
        found += [NO_VALUE % ("airflow_cfg." + key) for key in OWN if value.get(key, "") is None]
    return found
