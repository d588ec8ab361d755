# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The alerts: the role's table and what the user changes of it make rules of Prometheus."""

from __future__ import annotations

import difflib
import re

SEVERITIES = ("critical", "warning", "none")
# What an alert of the table has that is no threshold, and what of it is the user's to change beside the thresholds.
_FIELDS = ("expr", "for", "severity", "deploy", "when", "summary", "description")
_CHANGEABLE = ("enabled", "for", "severity")
_DURATION = re.compile(r"^(?=.)([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$|^0$")
_GO_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
_NUMBER = re.compile(r"^[0-9]+(\.[0-9]+)?$")


def thresholds(alert):
    """The thresholds of an alert of the table, by name."""
    return {name: value for name, value in alert.items() if name not in _FIELDS}


def alert_rules(table, changes, runbook_url):
    """The rules, as Prometheus has them, of all alerts that there is a reason for and that the user wants."""
    rules = []
    for name, alert in table.items():
        change = changes.get(name) or {}
        if not alert.get("when", True) or not change.get("enabled", True):
            continue
        alert = dict(alert, **change)
        numbers = {key: alert[key] for key in thresholds(table[name])}
        labels = {"severity": alert["severity"]}
        if "deploy" in alert:
            labels["deploy"] = alert["deploy"]
        rule = {"alert": name, "expr": _fill(" ".join(alert["expr"].split()), numbers)}
        if "for" in alert:
            rule["for"] = str(alert["for"])
        rule["labels"] = labels
        rule["annotations"] = {
            "summary": _fill(alert["summary"], numbers),
            "description": _fill(alert["description"], numbers),
            "runbook_url": runbook_url.replace("{alert}", name),
        }
        rules.append(rule)
    return rules


def _fill(text, numbers):
    for name, value in numbers.items():
        text = text.replace("@%s@" % name, str(value))
    return text


def alert_problems(declared, _release):
    """What is wrong with what the user changes of the alerts, and with rules of the user's own."""
    known, changes = declared["alerts"]["known"], declared["alerts"]["changes"]
    found = []
    for name, change in sorted(changes.items()):
        variable = "airflow_alerts.%s" % name
        if name not in known:
            found.append((variable, "there is no such alert", _suggestion(name, known)))
        elif not isinstance(change, dict):
            found.append((variable, "it is no mapping", "write what changes: {for: 1m}"))
        else:
            found += _wrong_settings(variable, change, sorted(thresholds(known[name])))
    found = found or _rare_answers(declared["alerts"]["interval"], known, changes)
    return found + _wrong_groups(declared["alerts"]["rules"])


def _rare_answers(interval, known, changes):
    """An exporter that asks the database more rarely than the alert about its silence bears."""
    variable, alert = "airflow_exporters_interval", "AirflowDatabaseUnreachable"
    parts = _GO_DURATION.findall(str(interval))
    if not parts or "".join(number + unit for number, unit in parts) != str(interval):
        return [(variable, "%r is no duration" % (interval,), "write it as Go does: 30s, 1m30s")]
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    settings = dict(known[alert], **changes.get(alert, {}))
    if settings.get("enabled", True) and 2 * seconds > float(settings["threshold"]):
        what = "%s fires %s s after the last answer, which is less than two of %s" % (
            alert,
            settings["threshold"],
            interval,
        )
        return [(variable, what, "ask more often, or set airflow_alerts.%s.threshold to %d" % (alert, 2 * seconds))]
    return []


def _wrong_settings(variable, change, numbers):
    found = []
    for name, value in sorted(change.items()):
        if name not in (*_CHANGEABLE, *numbers):
            what, fix = "the alert has no such setting", _suggestion(name, [*_CHANGEABLE, *numbers])
        elif name == "enabled" and not isinstance(value, bool):
            what, fix = "%r is neither true nor false" % (value,), "write true or false"
        elif name == "for" and not _DURATION.match(str(value)):
            what, fix = "%r is no duration" % (value,), "write it as Prometheus does: 90s, 15m, 1h30m"
        elif name == "severity" and value not in SEVERITIES:
            what, fix = "there is no severity %s" % (value,), "use %s" % ", ".join(SEVERITIES)
        elif name in numbers and not _NUMBER.match(str(value)):
            what, fix = "%r is no number" % (value,), "write a number"
        else:
            continue
        found.append(("%s.%s" % (variable, name), what, fix))
    return found


def _wrong_groups(groups):
    """Their rules are Prometheus's to look at, and it does so before it reads them."""
    variable, seen = "airflow_alert_rules", ["airflow", "airflow-records"]
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("rules"), list) or not group.get("name"):
            return [(variable, "a group has no name or no rules", "write each as {name: mine, rules: [...]}")]
        if group["name"] in seen:
            return [(variable, "%s is the name of another group" % group["name"], "give the group a name of its own")]
        seen.append(group["name"])
    return []


def _suggestion(name, names):
    near = difflib.get_close_matches(str(name), sorted(names), 1)
    return "did you mean %s?" % near[0] if near else "use %s" % ", ".join(sorted(names))
