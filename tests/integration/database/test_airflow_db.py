# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dataops.airflow.airflow_db on real servers, with a real Airflow release."""

from __future__ import annotations


def test_empty(bench, initialised):
    pass


def test_empty2(bench, outdated, mariadb_outdated):
    pass
