# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each alert fires when it is to, with the words that it is to have, and none fires when another one is meant.

The cases of an alert are in cases/<alert>.yml. A case says what is different from the healthy cluster, in `series` by
name and labels and in `gone` by regular expressions, and which alerts fire `at` a time: those, and no others.
"""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from clusters import CLUSTERS, INTERVAL, healthy

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
CASES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((HERE / "cases").glob("*.yml"))}
EACH = [
    pytest.param(case, cluster, id=f"{alert}-{case['name'].replace(' ', '_')}-{cluster}")
    for alert, cases in CASES.items()
    for case in cases
    for cluster in case.get("clusters", ["1.10", "2.11", "3.3"])
]
PAGES = ROOT / "docs/alerts"
RUNBOOKS = "https://github.com/dataops/ansible-collection-airflow/blob/main/docs/alerts/%s.md"
ALWAYS = {
    "alert": "AirflowDeadMansSwitch",
    "labels": {"severity": "none"},
    "summary": "Alerts are delivered",
    "description": "It always fires. Where it stops arriving, no other alert arrives either.",
}


TABLE = yaml.safe_load((ROOT / "roles/airflow_prometheus/vars/main/alerts.yml").read_text(encoding="utf-8"))
ALERTS = list(TABLE["_airflow_prometheus_alerts"])


def read(rules, cluster):
    """The groups of a cluster's rules by name, each as its alerts by name."""
    groups = yaml.safe_load((rules / f"{cluster}.yml").read_text(encoding="utf-8"))["groups"]
    return {group["name"]: {rule["alert"]: rule for rule in group["rules"] if "alert" in rule} for group in groups}


def firing(case):
    """The alerts that fire at some time of a case."""
    return {alert["alert"] for alerts in case["at"].values() for alert in alerts}


def expected(case, alerts, time, known):
    """What promtool is to find at a time: for each alert that there is, what of it fires."""
    wanted = {name: [] for name in known}
    always = [ALWAYS] if "AirflowDeadMansSwitch" in known else []
    for alert in alerts + [one for one in always if one["alert"] not in {alert["alert"] for alert in alerts}]:
        name = alert["alert"]
        annotations = {key: alert[key] for key in ("summary", "description")}
        annotations["runbook_url"] = case.get("runbooks", RUNBOOKS) % name
        wanted[name].append({"exp_labels": alert["labels"], "exp_annotations": annotations})
    return [{"eval_time": time, "alertname": name, "exp_alerts": found} for name, found in wanted.items()]


@pytest.mark.parametrize("case, cluster", EACH)
def test_what_fires_and_what_does_not(case, cluster, rules, promtool, tmp_path):
    found = healthy(CLUSTERS[cluster]["airflow_version"])
    for pattern in case.get("gone", []):
        lost = [name for name in found if re.search(pattern, name)]
        assert lost, pattern
        for name in lost:
            del found[name]
    found.update(case.get("series", {}))
    known = read(rules, cluster)["airflow"]
    tests = {
        "rule_files": [str(rules / f"{cluster}.yml")],
        "evaluation_interval": f"{INTERVAL}s",
        "tests": [
            {
                "interval": f"{INTERVAL}s",
                "input_series": [{"series": name, "values": values} for name, values in found.items()],
                "alert_rule_test": [
                    test for time, alerts in case["at"].items() for test in expected(case, alerts, time, known)
                ],
            }
        ],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    promtool("test", "rules", tmp_path / "tests.yml")


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_prometheus_takes_the_rules(cluster, rules, promtool):
    assert "SUCCESS" in promtool("check", "rules", rules / f"{cluster}.yml")


def test_the_alert_of_the_article_to_the_letter(rules):
    rule = read(rules, "1.10")["airflow"]["AirflowTaskQueued"]
    assert rule["expr"] == "airflow_num_queued_tasks > 0"
    assert rule["for"] == "15m"
    assert rule["annotations"] == {
        "summary": "Instance: `{{ $labels.instance }}`\nJob: `{{ $labels.job }}`\n",
        "description": "Alarm: `Task getting queued for more than 15minutes` ",
        "runbook_url": RUNBOOKS % "AirflowTaskQueued",
    }


def test_a_cluster_has_the_alerts_of_what_it_has(rules):
    assert list(read(rules, "3.3")["airflow"]) == ALERTS
    assert list(read(rules, "2.11")["airflow"]) == ALERTS
    assert set(ALERTS) - set(read(rules, "1.10")["airflow"]) == {"AirflowHeartbeatLost"}
    celery = {"AirflowWorkerLost", "AirflowQueueWithoutWorkers", "AirflowBrokerDown"}
    assert set(ALERTS) - set(read(rules, "local")["airflow"]) == celery | {"AirflowTaskFailureRate"}
    heartbeats = {
        name: read(rules, name)["airflow"]["AirflowHeartbeatLost"]["expr"] for name in ("2.11", "local", "3.3")
    }
    assert '{component=~"triggerer"}' in heartbeats["2.11"]
    assert '{component=~"dag_processor|triggerer"}' in heartbeats["local"]
    assert '{component=~"dag_processor|triggerer"}' in heartbeats["3.3"]
    units = {name: read(rules, name)["airflow"]["AirflowComponentDown"]["expr"] for name in ("1.10", "3.3")}
    assert "airflow-webserver.service" in units["1.10"] and "airflow-dag-processor" not in units["1.10"]
    assert "airflow-api-server.service" in units["3.3"] and "airflow-worker" not in units["3.3"]


def test_what_is_alone_is_critical(rules):
    assert read(rules, "local")["airflow"]["AirflowComponentDown"]["labels"]["severity"] == "critical"
    assert read(rules, "3.3")["airflow"]["AirflowComponentDown"]["labels"]["severity"] == "warning"


def test_rules_of_the_user_s_own_come_as_they_are(rules):
    groups = read(rules, "changed")
    assert list(groups) == ["airflow-records", "airflow", "mine"]
    assert groups["mine"]["Mine"] == {
        "alert": "Mine",
        "expr": 'up{job="mine"} == 0',
        "annotations": {"summary": "{{ $labels.instance }} is mine"},
    }
    assert list(read(rules, "3.3")) == ["airflow-records", "airflow"]


def test_only_what_a_deployment_may_cause_is_silenced(rules):
    silenced = {
        name for name, rule in read(rules, "3.3")["airflow"].items() if rule["labels"].get("deploy") == "silenced"
    }
    assert silenced == {
        "AirflowTaskQueued",
        "AirflowSchedulerHeartbeatLost",
        "AirflowHeartbeatLost",
        "AirflowHostHeartbeatLost",
        "AirflowComponentDown",
        "AirflowWorkerLost",
        "AirflowQueueWithoutWorkers",
        "AirflowDeploymentsDiffer",
        "AirflowTargetDown",
    }


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_that_fires_and_one_that_does_not(alert):
    cases = CASES[alert]
    assert any(alert in firing(case) for case in cases)
    assert any(alert not in firing(case) for case in cases)


def test_there_are_no_cases_of_what_is_no_alert():
    assert set(CASES) - {"healthy"} == set(ALERTS)


def test_each_alert_has_a_page_and_each_page_an_alert():
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_tells_what_can_be_changed(alert):
    text = (PAGES / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    changeable = set(TABLE["_airflow_prometheus_alerts"][alert]) - {
        "expr",
        "severity",
        "deploy",
        "when",
        "summary",
        "description",
    }
    for name in changeable:
        assert re.search(rf"`{name}`|{{{name}:|, {name}:", text), name
