# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first gate refuses, by the name of the variable and with a fix, what the inventory alone shows to be wrong."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils._gate import problems, singles
from refusals import DECLARED

FERNET = "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ="
GOOD = {
    "version": "3.3.2",
    "executor": "CeleryExecutor",
    "masters": ["m1", "m2"],
    "workers": ["w1", "w2"],
    "worker_names": ["w1", "w2"],
    "components": ["webserver", "scheduler", "dag_processor", "triggerer"],
    "presets": {"worker": "strict"},
    "user": "airflow",
    "impersonation_users": ["reports"],
    "secrets": {
        "airflow_fernet_key": FERNET,
        "airflow_api_secret_key": "k" * 48,
        "airflow_jwt_secret": "j" * 64,
        "airflow_admin_password": "correct horse battery",
    },
    "passwords": {"airflow_database_password": "p4ssw0rd!", "airflow_broker_password": "br0ker"},
    "addresses": {"airflow_database_host": "db1", "airflow_broker_host": "broker1"},
    "urls": {
        "airflow_database_url": "postgresql+psycopg2://airflow:p4ssw0rd%21@db1:5432/airflow",
        "airflow_broker_url": "redis://:br0ker@broker1:6379/0",
        "airflow_result_backend": "db+postgresql+psycopg2://airflow:p4ssw0rd%21@db1:5432/airflow",
        "airflow_execution_api_url": "http://127.0.0.1:8089/execution/",
    },
    "database_type": "postgresql",
    "mysql_exporter": False,
    "database_url_given": False,
    "broker_url_given": False,
    "ca_files": {"airflow_database_ca_file": "", "airflow_broker_ca_file": ""},
    "own_broker": True,
    "numbers": {
        "airflow_webserver_port": 8080,
        "airflow_proxy_port": 8089,
        "airflow_database_port": 5432,
        "airflow_broker_port": 6379,
        "airflow_broker_database": 0,
        "airflow_visibility_timeout": 90000,
        "airflow_worker_stop_timeout": 86400,
        "airflow_task_memory": 64,
        "airflow_service_worker_concurrency": None,
    },
    "autoscale": None,
    # Looked at where there is any of it.
    "kubernetes": {
        "kubeconfig": (
            "{clusters: [{name: c, cluster: {server: 'https://k8s:6443'}}], users: [{name: u, user: {token: t0ken}}],"
            " contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}"
        ),
        "image": "registry:5000/airflow:1",
        "pod_template": "{apiVersion: v1, kind: Pod, spec: {containers: [{name: base}]}}",
        "execution_api_url": "http://lb:8080/execution/",
    },
    "timezone": "Asia/Jakarta",
    "options": {"core": {"parallelism": 128, "load_examples": False}},
    "extra_sections": [],
    "cfg": {"executor": "CeleryExecutor", "parallelism": 128, "endpoint_url": "http://localhost:8080"},
    "home": "/var/lib/airflow",
    "active_scheduler": "m1",
    "environment": {"TMPDIR": "/var/tmp"},
    "alerts": {
        "changes": {
            "AirflowTaskQueued": {"for": "1h30m", "severity": "warning"},
            "AirflowDiskFilling": {"threshold": 0.05},
        },
        "rules": [{"name": "mine", "rules": []}],
        "known": {
            "AirflowTaskQueued": {"expr": "airflow_num_queued_tasks > 0", "for": "15m", "severity": "critical"},
            "AirflowDiskFilling": {"expr": "...", "severity": "warning", "threshold": 0.1, "hours": 24},
            "AirflowDatabaseUnreachable": {"expr": "...", "severity": "critical", "threshold": 120},
        },
        "interval": "30s",
    },
    "aws": {
        "rds": {
            "identifier": "main",
            "cluster": False,
            "product": "postgresql",
            "version": "15.4",
            "parameter_groups": ["ours"],
            "parameters": {"max_connections": "LEAST({DBInstanceClassMemory/9531392},5000)"},
        },
        "elasticache": {"identifier": "queue", "tls": False, "password": False},
        "connections": {"webserver": 34, "worker": 17},
        "allow_unsupported": False,
    },
}


def declared(changes, base=None):
    """What is declared, with some of it changed."""
    found = copy.deepcopy(GOOD if base is None else base)
    for name, value in changes.items():
        inner = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = declared(value, found[name]) if inner else value
    return found


def at(value, *path):
    """A value at its place."""
    for name in reversed(path):
        value = {name: value}
    return value


def test_a_good_declaration_is_accepted():
    assert problems(GOOD, release("3.3.2")) == []


@pytest.mark.parametrize("row", DECLARED, ids=[row["wrong"] for row in DECLARED])
def test_refusal_names_the_variable_and_the_fix(row):
    host = declared(row["declare"])
    found = problems(host, release(host["version"]))
    assert " ".join(row["says"].split()) in [": ".join(problem) for problem in found]
    assert all(len(problem) == 3 and all(problem) for problem in found)


def test_several_are_told_at_once():
    found = problems(declared({"masters": [], "timezone": "Moon", "options": {"schedular": {}}}), release("3.3.2"))
    assert {problem[0] for problem in found} == {"groups.master", "airflow_timezone", "airflow_options.schedular"}


def test_numbers_may_be_written_as_text():
    numbers = {name: None if value is None else str(value) for name, value in GOOD["numbers"].items()}
    assert problems(declared({"numbers": numbers, "autoscale": "16,4"}), release("3.3.2")) == []


def test_the_time_that_a_task_may_take_is_below_that_of_its_worker():
    options = {"core": {"default_task_execution_timeout": 86399}}
    assert problems(declared({"options": options}), release("3.3.2")) == []


def test_only_what_may_run_once_is_counted():
    facts = release("3.3.2")
    assert singles(GOOD, facts) == []
    facts["components"] = dict(facts["components"], scheduler=dict(facts["components"]["scheduler"], single=True))
    assert singles(GOOD, facts) == ["scheduler"]
    assert problems(GOOD, facts) == []


@pytest.mark.parametrize(
    "path",
    [("secrets", name) for name in GOOD["secrets"]]
    + [("passwords", name) for name in GOOD["passwords"]]
    + [("urls", name) for name in GOOD["urls"]]
    + [("kubernetes", "kubeconfig"), ("options", "core", "fernet_key"), ("options", "celery", "flower_basic_auth")],
    ids=".".join,
)
@pytest.mark.parametrize("secret", ["hunter2hunter2hunter2@/#", "REPLACE_ME-hunter2", "CHANGE_ME@hunter2:x"])
def test_no_refusal_shows_a_secret(path, secret):
    value = "postgresql://airflow:%s@db1:x/airflow" % secret if path[0] == "urls" else secret
    found = str(problems(declared(at(value, *path)), release("3.3.2")))
    assert "hunter2" not in found


def test_executors_without_workers_need_neither_workers_nor_a_broker():
    alone = {
        "executor": "KubernetesExecutor",
        "workers": [],
        "worker_names": [],
        "addresses": {"airflow_broker_host": ""},
    }
    assert problems(declared(alone), release("3.3.2")) == []
    beside = problems(declared(dict(alone, executor="CeleryExecutor,KubernetesExecutor")), release("3.3.2"))
    assert {problem[0] for problem in beside} == {"groups.worker", "airflow_broker_host"}


def test_an_extra_section_is_allowed_by_its_name():
    found = declared({"options": {"my_plugin": {"color": "red"}}})
    assert problems(found, release("3.3.2"))
    found["extra_sections"] = ["my_plugin"]
    assert problems(found, release("3.3.2")) == []


def test_a_cluster_that_aws_has_no_part_in():
    assert problems({**GOOD, "aws": {"rds": {}, "elasticache": {}}}, release("3.3.2")) == []
    assert problems({name: value for name, value in GOOD.items() if name != "aws"}, release("3.3.2")) == []


@pytest.mark.parametrize(
    ("product", "version", "off"),
    [
        ("mysql", "5.7.44", True),
        ("mysql", "8.0.36", False),
        ("mariadb", "10.6.14", True),
        ("mariadb", "10.11.6", False),
    ],
)
def test_explicit_timestamps_where_no_parameter_says_so(product, version, off):
    rds = {"product": product, "version": version, "parameters": {}}
    found = problems(declared({"aws": {"rds": rds, "allow_unsupported": True}}), release("3.3.2"))
    assert [what.split()[0] for _name, what, _fix in found] == ["explicit_defaults_for_timestamp"] * off


def test_encrypted_servers_of_aws_are_accepted():
    url = GOOD["urls"]["airflow_database_url"] + "?sslmode=verify-full&sslrootcert=/ca.pem"
    changes = {
        "urls": {"airflow_database_url": url, "airflow_broker_url": "rediss://:br0ker@broker1:6379/0"},
        "aws": {"rds": {"parameters": {"rds.force_ssl": "1"}}, "elasticache": {"tls": True, "password": True}},
    }
    assert problems(declared(changes), release("3.3.2")) == []
