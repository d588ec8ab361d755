# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboards are whole, and ask for what there is. tests/integration/dashboards asks a Prometheus."""

from __future__ import annotations

import json
import re

import pytest
from dashboards import DASHBOARDS, panels, queries
from metrics import names

# What is no metric of an exporter: Prometheus writes it itself.
OWN = {"ALERTS"}


@pytest.fixture(params=DASHBOARDS)
def dashboard(request):
    return request.param


def test_uids_are_the_names_of_the_files(dashboard):
    assert DASHBOARDS[dashboard]["uid"] == dashboard
    assert DASHBOARDS[dashboard]["id"] is None


def test_panels_have_ids_of_their_own(dashboard):
    ids = [panel["id"] for panel in DASHBOARDS[dashboard]["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_do_not_overlap(dashboard):
    taken = set()
    for panel in DASHBOARDS[dashboard]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_panel_has_queries_and_a_unit(dashboard):
    assert panels(dashboard)
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["expr"] for target in panel["targets"]), panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), panel["title"]
        if panel["type"] in ("timeseries", "state-timeline"):
            assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_the_source_of_the_data_is_a_variable(dashboard):
    variables = {variable["name"]: variable for variable in DASHBOARDS[dashboard]["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    named = set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARDS[dashboard])))
    assert named == {dashboard, "${datasource}", "-- Grafana --"}


def test_queries_ask_for_metrics_that_there_are():
    known = names() | OWN
    for dashboard, title, query in queries():
        assert "$" not in query, f"{dashboard}: {title}: a variable that tests/dashboards.py does not know"
        bare = re.sub(r'"[^"]*"|\b(?:by|ignoring|on) \([^)]*\)|\[[^]]*\]', "", query)
        asked = set(
            re.findall(r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b(?! ?\()|\bup\b|\bALERTS\b", re.sub(r"\{[^}]*\}", "", bare))
        )
        assert asked and asked <= known, f"{dashboard}: {title}: {sorted(asked - known)}"
