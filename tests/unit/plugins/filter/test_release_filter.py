# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters that roles and playbooks use."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.dataops.airflow.plugins.filter import release
from refusals import refused

FILTERS = release.FilterModule().filters()


def test_unknown_versions_name_the_variable():
    assert FILTERS["release"]("3.3.2")["series"] == "3.3"
    for version in ("2", None):
        with pytest.raises(AnsibleFilterError, match="^airflow_version: "):
            FILTERS["release"](version)


def test_invalid_options_name_the_variable():
    facts = FILTERS["release"]("3.3.2")
    with pytest.raises(AnsibleFilterError, match=r"^airflow_options: \[core\] A: "):
        FILTERS["deployment"](facts, "/r", "/opt/airflow", {"core": {"A": 1}}, {})
    assert FILTERS["deployment"](facts, "/r", "/opt/airflow", {"core": {"a": 1}}, {})["release"] == "/r"


def unit(**more):
    return dict({"state": "active", "version": "3.3.2", "deployment": "0f3a", "restarts": 0, "trouble": ""}, **more)


def test_status_table():
    hosts = [
        {
            "inventory_hostname": "m1",
            "airflow_service_info": {
                "units": {
                    "airflow-scheduler": unit(trouble="no heartbeat\n  since\tit started"),
                    "airflow-api-server": unit(),
                    "airflow-triggerer": unit(state="missing", version=None, deployment=None, trouble="not there"),
                },
                "queues": {"default": 3, "other": None},
            },
        },
        {"inventory_hostname": "worker-1", "airflow_service_info": None},
        {"inventory_hostname": "w2"},
    ]
    database = {"state": "current", "before": {"airflow": "abc", "fab": "def"}}
    assert FILTERS["status_table"](hosts, database) == [
        "HOST      COMPONENT           STATE    VERSION  DEPLOYMENT  RESTARTS  TROUBLE",
        "m1        airflow-api-server  healthy  3.3.2    0f3a        0",
        "m1        airflow-scheduler   active   3.3.2    0f3a        0         no heartbeat since it started",
        "m1        airflow-triggerer   missing  -        -           0         not there",
        "worker-1  -                   -        -        -           -         it could not be asked",
        "w2        -                   -        -        -           -         it could not be asked",
        "database: current (airflow abc, fab def)",
        "queued: default 3, other unknown",
    ]


def test_status_table_of_nothing():
    lines = FILTERS["status_table"]([], {})
    assert lines[1:] == ["database: unknown (no revision)", "queued: unknown"]


def gate(masters=("m1", "m2"), **results):
    """What the gate tells of these results, host by host."""
    members = sorted(results)
    hostvars = {name: {"looked": result} for name, result in results.items()}
    return FILTERS["refusals"](members, hostvars, "looked", list(masters))


def test_nothing_to_refuse():
    assert gate(m1={"problems": [], "version": "3.3.2"}, m2={}, w1={"unreachable": True}) == []


def test_a_problem_names_its_hosts():
    assert gate(m1={"problems": ["x: y: z"]}, w1={"problems": ["x: y: z", "a: b: c"]}) == [
        "every host: x: y: z",
        "w1: a: b: c",
    ]


def test_hosts_that_disagree():
    good = {"version": "3.3.2", "deployment": {"digest": "a"}, "python": "3.11"}
    (found,) = gate(m1=good, w1=dict(good, version="3.3.1", deployment={"digest": "b"}))
    assert refused("a-versions", found)
    (found,) = gate(m1=good, m2=good, w1=dict(good, deployment={"digest": "b"}))
    assert refused("a-deployments", found)
    (found,) = gate(m1=good, w1=dict(good, python="3.12"))
    assert refused("b-pythons", found)


def test_a_component_that_may_run_once():
    one = {"version": "3.3.2", "single": ["scheduler"]}
    (found,) = gate(m1=one, m2=one)
    assert refused("a-single", found)
    assert gate(m1=one, m2=dict(one, single=[])) == []


def test_a_master_that_cannot_be_reached():
    (found,) = gate(m1={"unreachable": True}, w1={"problems": []})
    assert refused("b-master-away", found)


def test_a_version_is_known_or_not():
    assert [FILTERS["is_supported"](version) for version in ("3.3.2", "2.0.0", "latest", None)] == [True] + [False] * 3
