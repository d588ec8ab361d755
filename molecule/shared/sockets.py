# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks until its input ends, then prints how many connections to a port each unit had at most, as JSON."""

from __future__ import annotations

import json
import pathlib
import re
import select
import sys

ESTABLISHED = "01"


def sockets(port):
    """The inodes of the connections of this host to that port of others."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[3] == ESTABLISHED and int(columns[2].split(":")[1], 16) == port:
            yield f"socket:[{columns[9]}]"


def by_unit(port):
    """The connections of each unit. What a child has of its parent is one."""
    wanted, found = set(sockets(port)), {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            unit = re.search(r"(airflow-[a-z-]+)\.service", (process / "cgroup").read_text())
            held = {str(entry.readlink()) for entry in (process / "fd").iterdir()} if unit else set()
        except OSError:
            continue
        if held & wanted:
            found.setdefault(unit.group(1), set()).update(held & wanted)
    return {unit: len(held) for unit, held in found.items()}


most = {}
while not select.select([sys.stdin], [], [], 0.2)[0]:
    for unit, count in by_unit(int(sys.argv[1])).items():
        most[unit] = max(count, most.get(unit, 0))
print(json.dumps(most))
