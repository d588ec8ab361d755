# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first gate refuses, by the name of the variable and with a fix, what the inventory alone shows to be wrong."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils._gate import problems

FERNET = "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ="
GOOD = {
    "version": "3.3.2",
    "executor": "CeleryExecutor",
    "masters": ["m1", "m2"],
    "workers": ["w1", "w2"],
    "worker_names": ["w1", "w2"],
    "components": ["webserver", "scheduler", "dag_processor", "triggerer"],
    "standby": [],
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
    "database_url_given": False,
    "broker_url_given": False,
    "visibility_timeout": 90000,
    "worker_stop_timeout": 86400,
    "timezone": "Asia/Jakarta",
    "options": {"core": {"parallelism": 128, "load_examples": False}},
    "extra_sections": [],
    "environment": {"TMPDIR": "/var/tmp"},
}

# where it is wrong, what stands there, the variable that must be named, words that must be in the refusal
REFUSALS = [
    (["masters"], [], "groups.master", "at least one host"),
    (["workers"], [], "groups.worker", "needs workers"),
    (["worker_names"], ["w1", "w1"], "airflow_worker_name", "two workers"),
    (["worker_names"], ["w,1"], "airflow_worker_name", "queue"),
    (["components"], ["schedular"], "airflow_components", "no component schedular"),
    (["environment"], {"PATH": "/bin"}, "airflow_environment.PATH", "set it themselves"),
    (["environment"], {"A B": "1"}, "airflow_environment.A B", "name of a variable"),
    (["secrets", "airflow_fernet_key"], "", "airflow_fernet_key", "missing"),
    (["secrets", "airflow_fernet_key"], "short", "airflow_fernet_key", "not a Fernet key"),
    (["secrets", "airflow_fernet_key"], FERNET + ",nokey", "airflow_fernet_key", "not a Fernet key"),
    (
        ["secrets", "airflow_fernet_key"],
        "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",
        "airflow_fernet_key",
        "public examples",
    ),
    (["secrets", "airflow_jwt_secret"], "", "airflow_jwt_secret", "missing"),
    (["secrets", "airflow_jwt_secret"], "tooshort", "airflow_jwt_secret", "needs 32"),
    (["secrets", "airflow_api_secret_key"], "tooshort", "airflow_api_secret_key", "needs 32"),
    (["secrets", "airflow_admin_password"], "admin", "airflow_admin_password", "public examples"),
    (["secrets", "airflow_admin_password"], "REPLACE_ME", "airflow_admin_password", "placeholder"),
    (["passwords", "airflow_database_password"], "REPLACE_ME", "airflow_database_password", "placeholder"),
    (["addresses", "airflow_database_host"], "REPLACE_ME", "airflow_database_host", "placeholder"),
    (["addresses", "airflow_database_host"], "", "airflow_database_host", "missing"),
    (["addresses", "airflow_broker_host"], "", "airflow_broker_host", "need a broker"),
    (
        ["urls", "airflow_database_url"],
        "mysql://airflow:passwd@host:port/airflow",
        "airflow_database_url",
        "placeholder",
    ),
    (["urls", "airflow_database_url"], "postgresql://a:p@ss@db1/airflow", "airflow_database_url", "percent-encoded"),
    (["urls", "airflow_broker_url"], "redis://:a/b#c@broker1:6379/0", "airflow_broker_url", "percent-encoded"),
    (["urls", "airflow_broker_url"], "broker1", "airflow_broker_url", "not an URL"),
    (["urls", "airflow_database_url"], "sqlite:////tmp/airflow.db", "airflow_database_url", "SQLite"),
    (["database_type"], "mariadb", "airflow_database_type", "postgresql"),
    (["visibility_timeout"], 3600, "airflow_visibility_timeout", "86400"),
    (["timezone"], "Asia/Jakart", "airflow_timezone", "Asia/Jakarta"),
    (["options", "core", "paralelism"], 1, "airflow_options.core.paralelism", "parallelism"),
    (["options", "core", "sql_alchemy_conn"], "x", "airflow_options.core.sql_alchemy_conn", "section database"),
    (["options", "schedular"], {"a": 1}, "airflow_options.schedular", "scheduler"),
    (["options", "core", "parallelism"], "many", "airflow_options.core.parallelism", "no integer"),
    (
        ["options", "scheduler"],
        {"enable_health_check": "perhaps"},
        "airflow_options.scheduler.enable_health_check",
        "no boolean",
    ),
    (
        ["options", "logging"],
        {"remote_logging": True, "remote_base_log_folder": "s3://logs/airflow"},
        "airflow_options.logging.remote_log_conn_id",
        "without a connection",
    ),
]


def declared(path, value):
    found = copy.deepcopy(GOOD)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def test_a_good_declaration_is_accepted():
    assert problems(GOOD, release("3.3.2")) == []


@pytest.mark.parametrize(("path", "value", "variable", "words"), REFUSALS)
def test_refusal_names_the_variable_and_the_fix(path, value, variable, words):
    found = problems(declared(path, value), release("3.3.2"))
    about = [problem for problem in found if problem[0] == variable]
    assert about, found
    assert words in " ".join(about[0])
    assert about[0][2], "a refusal says what to do"


def test_no_refusal_shows_a_secret():
    secret = "hunter2hunter2hunter2@/#"
    for path in (
        ["secrets", "airflow_jwt_secret"],
        ["secrets", "airflow_fernet_key"],
        ["passwords", "airflow_database_password"],
    ):
        assert secret not in str(problems(declared(path, secret), release("3.3.2")))
    url = "postgresql://airflow:%s@db1/airflow" % secret
    assert secret not in str(problems(declared(["urls", "airflow_database_url"], url), release("3.3.2")))


def test_an_extra_section_is_allowed_by_its_name():
    found = declared(["options", "my_plugin"], {"color": "red"})
    assert problems(found, release("3.3.2"))
    found["extra_sections"] = ["my_plugin"]
    assert problems(found, release("3.3.2")) == []
