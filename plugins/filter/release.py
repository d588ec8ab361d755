# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ..module_utils._releases import UnknownRelease, release
from ..plugin_utils._alerts import alert_rules
from ..plugin_utils._deployment import InvalidOptions, build, digest, options_of, outline
from ..plugin_utils._executors import executors
from ..plugin_utils._kubernetes import kubernetes_advice, kubernetes_servers, pod_environment
from ..plugin_utils._options import value_of
from ..plugin_utils._servers import connections, servers
from ..plugin_utils._sizing import advice, demand


def release_filter(version):
    """The facts of an Airflow version."""
    try:
        return release(version)
    except UnknownRelease as error:
        raise AnsibleFilterError("airflow_version: %s" % error) from error


def is_supported(version):
    """Whether the table knows an Airflow version."""
    try:
        return bool(release(version))
    except UnknownRelease:
        return False


def deployment_filter(*arguments):
    """The deployment that the variables of a cluster make."""
    try:
        return build(*arguments)
    except InvalidOptions as error:
        raise AnsibleFilterError("airflow_options: %s" % error) from error


def status_table(hosts, database):
    """Lines of a table: what runs on each host, then what the cluster shares."""
    rows = [["HOST", "COMPONENT", "STATE", "VERSION", "DEPLOYMENT", "RESTARTS", "TROUBLE"]]
    queues = {}
    for host in hosts:
        info = host.get("airflow_service_info") or {}
        queues.update(info.get("queues") or {})
        if not info.get("units"):
            trouble = "-" if "units" in info else "it could not be asked"
            rows.append([host["inventory_hostname"], "-", "-", "-", "-", "-", trouble])
        for name, unit in sorted((info.get("units") or {}).items()):
            state = "healthy" if unit["state"] == "active" and not unit["trouble"] else unit["state"]
            cells = [state, unit["version"], unit["deployment"], unit["restarts"], unit["trouble"]]
            cells = ["-" if cell is None else " ".join(str(cell).split()) for cell in cells]
            rows.append([host["inventory_hostname"], name] + cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    revisions = ["%s %s" % item for item in sorted((database.get("before") or {}).items())]
    lines.append("database: %s (%s)" % (database.get("state", "unknown"), ", ".join(revisions) or "no revision"))
    depths = ["%s %s" % (name, "unknown" if depth is None else depth) for name, depth in sorted(queues.items())]
    lines.append("queued: %s" % (", ".join(depths) or "unknown"))
    return lines


def refusals(members, hostvars, key, masters):
    """All that a gate found wrong on the members of a play, and where hosts of one cluster disagree.

    `key` names the registered result. A worker that cannot be reached stops nobody; a master does.
    """
    results = {name: hostvars[name].get(key) or {} for name in members}
    hosts, versions, deployments, pythons, singles = {}, {}, {}, {}, {}
    for name, result in results.items():
        for problem in result.get("problems") or []:
            hosts.setdefault(problem, []).append(name)
        if result.get("unreachable") and name in masters:
            problem = "this master cannot be reached: bring it back, or leave it out with --limit"
            hosts.setdefault(problem, []).append(name)
        if result.get("failed"):
            problem = "it cannot be looked at: %s" % (result.get("msg") or result.get("module_stderr"))
            hosts.setdefault(problem, []).append(name)
        if result.get("version"):
            versions.setdefault(result["version"], []).append(name)
        for component in result.get("single") or []:
            singles.setdefault(component, []).append(name)
        if result.get("deployment"):
            deployments.setdefault(result["deployment"]["digest"], []).append(name)
        if result.get("python"):
            pythons.setdefault(result["python"], []).append(name)
    found = [
        "%s: %s" % ("every host" if len(names) == len(members) > 1 else ", ".join(names), problem)
        for problem, names in hosts.items()
    ]
    if len(versions) > 1:
        which = ["%s %s" % (", ".join(names), version) for version, names in sorted(versions.items())]
        found.append("airflow_version: hosts declare different ones: %s: give all the same" % "; ".join(which))
    elif len(deployments) > 1:
        groups = sorted(deployments.values(), key=len)
        found.append(
            "airflow_options: %s declare another deployment than %s: give all hosts the same options, environment and "
            "secrets; what differs by host goes into airflow_service_* variables"
            % (", ".join(groups[0]), ", ".join(groups[-1]))
        )
    for component, names in sorted(singles.items()):
        if len(names) > 1:
            found.append(
                "airflow_components: %s: only one %s may run with this version of Airflow: leave it out on all of them "
                "but one" % (", ".join(names), component)
            )
    if len(pythons) > 1:
        which = ["%s has %s" % (", ".join(names), version) for version, names in sorted(pythons.items())]
        found.append("airflow_python_executable: hosts differ: %s: use one Python everywhere" % "; ".join(which))
    return found


def components(release, options, groups, active):
    """The components that a host of these groups runs by default. `active` says whether what may run once runs here."""
    found = []
    for name, component in release["components"].items():
        section, option = component.get("wanted_by") or (None, None)
        wanted = not section or str(options.get(section, {}).get(option)).lower() in ("true", "t", "1")
        if component["on"] in groups and wanted and (active or not component["single"]):
            found.append(name)
    return found


def worker_name(host):
    """The name of the worker on a host, of which the host's variables are given."""
    return host.get("airflow_worker_name") or host["inventory_hostname"]


def address(host):
    """Where the other nodes of the cluster reach a host, of which the host's variables are given."""
    return host.get("airflow_address") or host["inventory_hostname"]


class FilterModule:
    """The collection's filters."""

    def filters(self):
        return {
            "release": release_filter,
            "is_supported": is_supported,
            "digest": digest,
            "options": options_of,
            "option": value_of,
            "components": components,
            "deployment": deployment_filter,
            "outline": outline,
            "refusals": refusals,
            "servers": servers,
            "connections": connections,
            "executors": executors,
            "kubernetes_advice": kubernetes_advice,
            "kubernetes_servers": kubernetes_servers,
            "pod_environment": pod_environment,
            "demand": demand,
            "advice": advice,
            "worker_name": worker_name,
            "address": address,
            "alert_rules": alert_rules,
            "status_table": status_table,
        }
