# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
from pathlib import Path

import pytest

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"

# A plain pytest finds the collection through the checkout's own tree; ansible-test brings a loader of its own.
if "ansible_collections" not in sys.modules and COLLECTIONS.is_dir():
    sys.path.insert(0, str(COLLECTIONS))

# What tests of all kinds share.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Directories(LoadScopeScheduling):
        """What runs side by side are directories: each has servers of its own, which its tests share."""

        # The scheduler of --dist loadgroup groups nothing with pytest 9.2:
        # https://github.com/pytest-dev/pytest-xdist/issues/1386
        def _split_scope(self, nodeid):
            return nodeid.partition("::")[0].rpartition("/")[0]

    return Directories(config, log)
