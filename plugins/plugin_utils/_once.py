# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Answers that are asked for once in a run, however often a variable is evaluated, and by however many processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os

from ansible import constants as C


def once(question, ask):
    """What `ask` answers: the first time in this run by asking, then from memory. Nothing is kept when it raises.

    The memory is a directory of this run of Ansible, which is its user's alone and goes with the run.
    """
    folder = os.path.join(C.DEFAULT_LOCAL_TMP, "dataops.airflow.once")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    name = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()
    path = os.path.join(folder, name)
    with open(path, "a+", encoding="utf-8", opener=lambda file, flags: os.open(file, flags, 0o600)) as handle:
        # Who comes meanwhile waits for the answer instead of asking as well.
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        text = handle.read()
        if not text:
            text = json.dumps(ask())
            handle.write(text)
    return json.loads(text)
