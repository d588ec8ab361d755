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
KNOWN = dict(TABLE, AirflowDatabaseUnreachable={"expr": "...", "severity": "critical", "threshold": 120})
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


def problems(changes, interval="30s"):
    return alert_problems({"alerts": {"changes": changes, "rules": [], "known": KNOWN, "interval": interval}}, None)


@pytest.mark.parametrize("duration", ["0", "90s", "15m", "1h30m", "1d", "500ms", 0])
def test_durations_are_those_of_prometheus(duration):
    assert problems({"Full": {"for": duration}}) == []


@pytest.mark.parametrize("duration", ["", "15", "m", "30m1h", "1.5h", "15 m", None])
def test_what_is_no_duration_is_refused(duration):
    assert [problem[0] for problem in problems({"Full": {"for": duration}})] == ["airflow_alerts.Full.for"]


def test_a_threshold_may_be_written_as_text():
    assert problems({"Full": {"threshold": "0.7"}}) == []


@pytest.mark.parametrize(
    "interval, changes",
    [
        ("60s", {}),
        ("1m0.000s", {}),
        ("500ms", {}),
        ("1h", {"AirflowDatabaseUnreachable": {"threshold": "7200"}}),
        ("1h", {"AirflowDatabaseUnreachable": {"enabled": False}}),
    ],
)
def test_the_database_is_asked_twice_before_its_silence_is_told(interval, changes):
    assert problems(changes, interval) == []


@pytest.mark.parametrize(
    "interval, changes",
    [
        ("61s", {}),
        ("1h", {"AirflowDatabaseUnreachable": {"threshold": 7199}}),
        ("", {}),
        ("1d", {}),
        ("30 s", {}),
        (30, {}),
    ],
)
def test_an_exporter_that_asks_too_rarely_is_refused(interval, changes):
    assert [problem[0] for problem in problems(changes, interval)] == ["airflow_exporters_interval"]
