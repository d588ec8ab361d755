# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples the arguments of all processes until its input ends, then prints each that was seen, one process a line."""

from __future__ import annotations

import pathlib
import select
import sys

INTERVAL = 0.1

seen = set()
while not select.select([sys.stdin], [], [], INTERVAL)[0]:
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.add(process.read_bytes().rstrip(b"\0").replace(b"\0", b" ").replace(b"\n", b" "))
        except OSError:
            continue
sys.stdout.buffer.write(b"\n".join(sorted(seen)) + b"\n")
