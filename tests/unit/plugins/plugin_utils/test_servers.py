# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the URLs of database and broker say of their servers, and how many connections a cluster needs."""

from __future__ import annotations

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils._servers import connections, servers

CA = "/etc/ssl/ca.crt"


@pytest.mark.parametrize(
    ("url", "host", "port", "kind", "tls", "ca_file"),
    [
        ("postgresql+psycopg2://u:p%40@db1:5433/airflow", "db1", 5433, "postgresql", "off", ""),
        ("postgresql://u:p@db1/airflow?sslmode=prefer", "db1", 5432, "postgresql", "off", ""),
        ("postgresql://u:p@db1/airflow?sslmode=require", "db1", 5432, "postgresql", "encrypt", ""),
        (f"postgresql://u:p@db1/a?sslmode=require&sslrootcert={CA}", "db1", 5432, "postgresql", "authority", CA),
        (f"postgresql://u:p@db1/a?sslmode=verify-ca&sslrootcert={CA}", "db1", 5432, "postgresql", "authority", CA),
        (f"db+postgresql://u:p@db1/a?sslmode=verify-full&sslrootcert={CA}", "db1", 5432, "postgresql", "name", CA),
        ("postgresql://u:p@db1/a?sslmode=verify-full", "db1", 5432, "postgresql", "encrypt", ""),
        ("mysql+mysqldb://u:p@db1/airflow", "db1", 3306, "mysql", "off", ""),
        ("mysql://u:p@db1/airflow?ssl_mode=REQUIRED", "db1", 3306, "mysql", "encrypt", ""),
        (f"mysql://u:p@db1/airflow?ssl_ca={CA}", "db1", 3306, "mysql", "authority", CA),
        (f"mysql://u:p@db1/airflow?ssl_mode=VERIFY_IDENTITY&ssl_ca={CA}", "db1", 3306, "mysql", "name", CA),
        (f"mysql+pymysql://u:p@db1/a?ssl_check_hostname=true&ssl_ca={CA}", "db1", 3306, "mysql", "name", CA),
        ("redis://:p@broker1:6380/0", "broker1", 6380, "redis", "off", ""),
        ("rediss://:p@broker1/0", "broker1", 6379, "redis", "encrypt", ""),
        ("rediss://:p@broker1/0?ssl_cert_reqs=required", "broker1", 6379, "redis", "name", ""),
        ("rediss://:p@broker1/0?ssl_cert_reqs=none", "broker1", 6379, "redis", "encrypt", ""),
        (f"rediss://:p@broker1/0?ssl_cert_reqs=required&ssl_ca_certs={CA}", "broker1", 6379, "redis", "name", CA),
        (
            f"rediss://:p@[fd00::1]/0?ssl_check_hostname=false&ssl_ca_certs={CA}",
            "fd00::1",
            6379,
            "redis",
            "authority",
            CA,
        ),
    ],
)
def test_what_an_url_says(url, host, port, kind, tls, ca_file):
    found = servers(url, "airflow_database")
    wanted = {"host": host, "port": port, "kind": kind, "tls": tls, "ca_file": ca_file}
    assert [{name: one[name] for name in wanted} for one in found] == [wanted]
    assert "p%40" not in str(found)


def test_urls_without_a_server():
    for url in ("sqlite:////tmp/a.db", "postgresql:///airflow?host=/var/run/postgresql", "sqs://", "amqp://b:5672//"):
        assert servers(url, "airflow_broker") == []


def test_several_servers():
    found = servers("postgresql://u:p@/airflow?host=db1:5433&host=db2", "airflow_database", "db2")
    assert [(one["host"], one["port"]) for one in found] == [("db1", 5433), ("db2", 5432)]
    assert [one["variable"] for one in found] == ["airflow_database_url", "airflow_database_host"]


def test_the_variable_is_the_one_that_was_written():
    url = f"postgresql://u:p@db1/a?sslmode=verify-full&sslrootcert={CA}"
    (made,) = servers(url, "airflow_database", "DB1", CA)
    assert (made["variable"], made["ca_variable"]) == ("airflow_database_host", "airflow_database_ca_file")
    (given,) = servers(url, "airflow_database", "", "")
    assert (given["variable"], given["ca_variable"]) == ("airflow_database_url", "airflow_database_url")


# --- connections

FACTS = release("3.3.2")
GROUPS = {"master": ["m1", "m2"], "worker": ["w1", "w2"]}
NEED = {name: component["connections"] for name, component in FACTS["components"].items()}


def counted(options=None, groups=None, **hosts):
    declared = dict({"celery": {"result_backend": "db+postgresql://u:p@db1/a"}}, **(options or {}))
    return connections(
        FACTS, declared, {name: hosts.get(name, {}) for name in ("m1", "m2", "w1", "w2")}, groups or GROUPS
    )


def test_each_component_counts_on_each_of_its_hosts():
    found = counted()
    assert set(found) == set(FACTS["components"])
    assert found["scheduler"] == 2 * NEED["scheduler"]["fixed"]
    assert found["worker"] == 2 * (NEED["worker"]["fixed"] + 16 * NEED["worker"]["each"])


def test_a_host_may_declare_what_it_runs():
    found = counted(m2={"airflow_components": ["scheduler"]}, w2={"airflow_components": []})
    assert found["scheduler"] == 2 * NEED["scheduler"]["fixed"]
    assert found["triggerer"] == NEED["triggerer"]["fixed"]
    assert found["worker"] == NEED["worker"]["fixed"] + 16 * NEED["worker"]["each"]


@pytest.mark.parametrize(
    ("options", "host", "processes"),
    [
        ({}, {"airflow_service_worker_concurrency": 4}, 4),
        ({}, {"airflow_service_worker_autoscale": "8,2", "airflow_service_worker_concurrency": 4}, 8),
        ({"worker_concurrency": "5"}, {}, 5),
        ({"worker_concurrency": 5, "worker_autoscale": "9,1"}, {}, 9),
        ({"worker_concurrency": 5}, {"airflow_service_worker_concurrency": 3}, 3),
    ],
)
def test_processes_of_a_worker(options, host, processes):
    options = {"celery": dict(options, result_backend="db+postgresql://u:p@db1/a")}
    found = counted(options, {"master": [], "worker": ["w1"]}, w1=host)
    assert found == {"worker": NEED["worker"]["fixed"] + processes * NEED["worker"]["each"]}


def test_processes_without_a_result_backend_in_the_database():
    found = counted({"celery": {"result_backend": "redis://b"}}, {"master": [], "worker": ["w1"]})
    assert found == {"worker": NEED["worker"]["fixed"]}


def test_an_api_server_may_use_its_whole_pool():
    fixed = NEED["webserver"]["fixed"]
    assert counted()["webserver"] == 2 * (fixed + 15)
    assert counted({"api": {"workers": 4}})["webserver"] == 2 * (fixed + 4 * 15)
    pool = {"sql_alchemy_pool_size": "8", "sql_alchemy_max_overflow": 0}
    assert counted({"database": pool})["webserver"] == 2 * (fixed + 8)
