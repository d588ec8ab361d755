# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What a host has to run things with."""

from __future__ import annotations

import os


def cpus():
    """How many CPUs processes may run on."""
    return len(os.sched_getaffinity(0))


def memory(path="/proc/meminfo"):
    """All of the memory that the kernel manages, in MiB."""
    with open(path) as handle:
        for line in handle:
            name, _colon, value = line.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) // 1024
    raise OSError("%s does not tell MemTotal" % path)
