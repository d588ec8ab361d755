# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""One at a time on a host: two controllers, or a run and what a killed one before it left at work."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time


class Busy(OSError):
    """Another run is at the same work for too long."""


@contextlib.contextmanager
def alone(path, timeout=300):
    """Holds the lock that the file `path` stands for, which the kernel gives up when the process ends."""
    # Nobody else may open it: who can open a file can lock it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise Busy("another run on this host holds %s for %s seconds" % (path, timeout)) from error
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)
