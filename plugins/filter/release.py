# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ..module_utils._releases import UnknownRelease, release
from ..plugin_utils._deployment import build, digest, merge


def release_filter(version):
    """The facts of an Airflow version."""
    try:
        return release(version)
    except UnknownRelease as error:
        raise AnsibleFilterError("airflow_version: %s" % error) from error


def status_table(hosts, database):
    """Lines of a table: what runs on each host, then what the cluster shares."""
    rows = [["HOST", "COMPONENT", "STATE", "VERSION", "DEPLOYMENT", "RESTARTS", "TROUBLE"]]
    queues = {}
    for host in hosts:
        info = host.get("airflow_service_info") or {}
        queues.update(info.get("queues") or {})
        if not info.get("units"):
            rows.append([host["inventory_hostname"], "-", "-", "-", "-", "-", "it could not be asked"])
        for name, unit in sorted((info.get("units") or {}).items()):
            state = "healthy" if unit["state"] == "active" and not unit["trouble"] else unit["state"]
            cells = [state, unit["version"], unit["deployment"], unit["restarts"], unit["trouble"]]
            rows.append([host["inventory_hostname"], name] + [str(cell) if cell is not None else "-" for cell in cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    revisions = ["%s %s" % item for item in sorted((database.get("before") or {}).items())]
    lines.append("database: %s (%s)" % (database.get("state", "unknown"), ", ".join(revisions) or "no revision"))
    depths = ["%s %s" % (name, "unknown" if depth is None else depth) for name, depth in sorted(queues.items())]
    lines.append("queued: %s" % (", ".join(depths) or "unknown"))
    return lines


class FilterModule:
    """The collection's filters."""

    def filters(self):
        return {
            "release": release_filter,
            "digest": digest,
            "merge_options": merge,
            "deployment": build,
            "status_table": status_table,
        }
