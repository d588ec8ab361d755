# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each query of the dashboards is one to a real Prometheus."""

from __future__ import annotations

import pytest
from dashboards import queries
from prometheus import ask, wait


@pytest.fixture(scope="module", autouse=True)
def alerting(prometheus):
    """Prometheus has evaluated its rules."""
    wait(lambda: ask(prometheus, "ALERTS"), "no alert fires")


@pytest.mark.parametrize("dashboard, panel, query", list(queries()))
def test_query_is_answered(prometheus, dashboard, panel, query):
    answer = ask(prometheus, query)
    assert answer, f"{dashboard}: {panel}: no data"
    assert "NaN" not in [series["value"][1] for series in answer]


@pytest.mark.parametrize("query", [query for dashboard, panel, query in queries() if "mysql_" in query])
def test_query_is_answered_where_the_database_is_mysql(prometheus, query):
    assert ask(prometheus, query.replace("pg_", "absent_"))
