# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import tempfile

import yaml
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase

from ..plugin_utils._deployment import merge
from ..plugin_utils._executors import executors
from ..plugin_utils._servers import connections
from ..plugin_utils._sizing import Plan, wrong_numbers

# What a host may have of its own, and connections depend on.
PER_HOST = ("airflow_components", "airflow_service_worker_autoscale", "airflow_service_worker_concurrency")

HEAD = """---
# Written by playbooks/size.yml of the Ansible collection dataops.airflow: changes made here are lost with its next run.
# Any other variable of yours wins over what is here.
"""


class Refused(ValueError):
    """The file is not one to write."""


def text_of(size):
    """The file's content."""
    return HEAD + yaml.safe_dump({"airflow_size": size}, sort_keys=False, default_flow_style=False, width=120)


def current(path):
    """What is in the file, empty when there is none. What somebody else wrote stays as it is."""
    folder, name = os.path.split(path)
    # Ansible reads the directory of a group, or else its file.
    for shadow in (folder + ending for ending in (".yml", ".yaml", ".json")):
        if os.path.isfile(shadow):
            raise Refused("it would hide %s from Ansible: move that into a directory %s" % (shadow, folder))
    if not name.endswith((".yml", ".yaml")):
        raise Refused("Ansible reads files of variables that end in .yml")
    if not os.path.lexists(path):
        return ""
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    if not text.startswith(HEAD):
        raise Refused("it is there, and was not written by this playbook: name another file")
    return text


def write(path, text):
    """Puts the file there as a whole or not at all."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    descriptor, new = tempfile.mkstemp(dir=folder, prefix=".airflow_size.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(new, 0o666 & ~mask)
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise


def database(release, cluster, size, limit):
    """What the cluster then asks of its database, and what is wrong with that: (line, trouble)."""
    hostvars = {
        name: dict({key: cluster["hostvars"][name].get(key) for key in PER_HOST}, airflow_size=size)
        for name in {*cluster["masters"], *cluster["workers"]}
    }
    options = cluster["all_options"]
    if "api_workers" in size:
        section, option = release["components"]["webserver"]["memory"]["of"].split(".")
        options = merge(options, {section: {option: size["api_workers"]}})
    celery = "CeleryExecutor" in executors(cluster["executor"])
    groups = {"master": cluster["masters"], "worker": cluster["workers"] if celery else []}
    need = connections(release, options, hostvars, groups)
    total, parts = sum(need.values()), ", ".join("%s %d" % item for item in sorted(need.items()))
    line = "connections to the database: %d at most (%s)" % (total, parts)
    if not limit:
        return line + "; how many the server allows could not be asked", ""
    line += "; the server allows %d (%s)" % (limit["allowed"], limit["limit"])
    if limit["allowed"] >= total:
        return line, ""
    trouble = (
        "airflow_database_connections: the cluster may open %d, and the server allows %d (%s): raise its limit, put a "
        "pooler before it, or let fewer tasks run at once" % (total, limit["allowed"], limit["limit"])
    )
    return line, trouble


class ActionModule(ActionBase):
    """Computes on the controller, and writes there. See the module of the same name for its documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = self._task.args
        release, cluster, hosts = arguments["release"], arguments["cluster"], arguments["hosts"]
        # Of plain texts, as YAML writes no others.
        cluster, hosts = json.loads(json.dumps([cluster, hosts]))
        cluster["hostvars"] = task_vars["hostvars"]
        wrong = list(wrong_numbers(cluster, hosts))
        if wrong:
            result.update(failed=True, msg="; ".join(wrong))
            return result
        plan = Plan(release, cluster, hosts)
        line, trouble = database(release, cluster, plan.size, arguments.get("limit"))
        lines, troubles = plan.lines + [line], plan.troubles + [trouble] * bool(trouble)
        text = text_of(plan.size)
        path = arguments.get("path") or ""
        result.update(changed=False, size=plan.size, lines=lines, troubles=troubles, text=text.splitlines())
        # What cannot work is not written.
        if troubles or not path:
            return result
        path = os.path.abspath(os.path.expanduser(to_text(path)))
        result["path"] = path
        try:
            before = current(path)
            result["changed"] = before != text
            if result["changed"]:
                header = {"before_header": path, "after_header": path}
                result["diff"] = dict(before=before, after=text, **header)
                if not self._task.check_mode:
                    write(path, text)
        except (OSError, Refused) as error:
            result.update(failed=True, changed=False, msg="airflow_size_file: %s: %s" % (path, error))
        return result
