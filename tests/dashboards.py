# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The queries of the dashboards, as Grafana would ask them."""

from __future__ import annotations

import json
import pathlib

FILES = pathlib.Path(__file__).resolve().parents[1] / "roles/airflow_dashboards/files"
DASHBOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FILES.glob("*.json"))}

# What Grafana puts in place of its variables when all hosts are chosen.
VARIABLES = {"$host": ".*", "$__rate_interval": "5m"}


def panels(dashboard):
    """The panels of a dashboard that show something: all but the headings."""
    return [panel for panel in DASHBOARDS[dashboard]["panels"] if panel["type"] != "row"]


def queries():
    """(dashboard, panel's title, query) for each query of each panel."""
    for dashboard in DASHBOARDS:
        for panel in panels(dashboard):
            for target in panel["targets"]:
                query = target["expr"]
                for name, content in VARIABLES.items():
                    query = query.replace(name, content)
                yield dashboard, panel["title"], query
