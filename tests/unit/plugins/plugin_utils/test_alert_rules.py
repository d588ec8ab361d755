# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of alerts and what the user changes of it make rules of Prometheus."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.dataops.airflow.plugins.plugin_utils._alerts import alert_problems, alert_rules

TABLE = {
    "Full": {
        "expr": "used / size > @threshold@\nand size > @least@",
        "for": "5m",
        "threshold": 0.8,
        "least": 10,
        "severity": "warning",
        "deploy": "silenced",
        "when": True,
        "summary": "{{ $labels.instance }} is full",
        "description": "More than @threshold@ of it.",
    },
    "Always": {"expr": "vector(1)", "severity": "none", "summary": "It works", "description": "It does."},
}
URL = "https://wiki.example.com/{alert}"


def test_a_rule_is_made_of_each_alert():
    assert alert_rules(TABLE, {}, URL) == [
        {
            "alert": "Full",
            "expr": "used / size > 0.8 and size > 10",
            "for": "5m",
            "labels": {"severity": "warning", "deploy": "silenced"},
            "annotations": {
                "summary": "{{ $labels.instance }} is full",
                "description": "More than 0.8 of it.",
                "runbook_url": "https://wiki.example.com/Full",
            },
        },
        {
            "alert": "Always",
            "expr": "vector(1)",
            "labels": {"severity": "none"},
            "annotations": {
                "summary": "It works",
                "description": "It does.",
                "runbook_url": "https://wiki.example.com/Always",
            },
        },
    ]


def test_the_user_changes_what_is_named_and_nothing_else():
    before = copy.deepcopy(TABLE)
    changes = {"Full": {"for": "1m", "threshold": 0.7, "severity": "critical"}, "Always": {"enabled": False}}
    (rule,) = alert_rules(TABLE, changes, URL)
    assert rule["expr"] == "used / size > 0.7 and size > 10"
    assert (rule["for"], rule["labels"]) == ("1m", {"severity": "critical", "deploy": "silenced"})
    assert rule["annotations"]["description"] == "More than 0.7 of it."
    assert TABLE == before


def test_what_the_cluster_does_not_have_needs_no_alert_even_if_it_is_changed():
    table = dict(TABLE, Full=dict(TABLE["Full"], when=False))
    assert [rule["alert"] for rule in alert_rules(table, {"Full": {"for": "1m"}}, URL)] == ["Always"]


@pytest.mark.parametrize("duration", ["0", "90s", "15m", "1h30m", "1d", "500ms", 0])
def test_durations_are_those_of_prometheus(duration):
    declared = {"alerts": {"changes": {"Full": {"for": duration}}, "rules": [], "known": TABLE}}
    assert alert_problems(declared, None) == []


@pytest.mark.parametrize("duration", ["", "15", "m", "30m1h", "1.5h", "15 m", None])
def test_what_is_no_duration_is_refused(duration):
    declared = {"alerts": {"changes": {"Full": {"for": duration}}, "rules": [], "known": TABLE}}
    assert [problem[0] for problem in alert_problems(declared, None)] == ["airflow_alerts.Full.for"]


def test_a_threshold_may_be_written_as_text():
    declared = {"alerts": {"changes": {"Full": {"threshold": "0.7"}}, "rules": [], "known": TABLE}}
    assert alert_problems(declared, None) == []
