# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the authorities, and nothing else, make the URLs ones of verified TLS, as each client spells it."""

from __future__ import annotations

import pytest
from controller import evaluate

HOSTS = {
    "plain": {},
    "postgresql": {"airflow_database_ca_file": "/etc/our ca.crt", "airflow_broker_ca_file": "/etc/redis.crt"},
    "mysql": {"airflow_database_ca_file": "/etc/ca.crt", "airflow_database_type": "mysql"},
    "given": {"airflow_database_url": "postgres+psycopg2://u:p@db9/a?sslmode=require"},
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """The URLs of each host's deployment."""
    shown = {"secrets": "{{ airflow_deployment.secrets }}"}
    found = evaluate(tmp_path_factory.mktemp("urls"), {"master": HOSTS}, shown, ["airflow_config"])
    return {host: values["secrets"] for host, values in found.items()}


def test_without_an_authority_nothing_is_encrypted(urls):
    assert urls["plain"]["database.sql_alchemy_conn"] == "postgresql+psycopg2://airflow:@db1:5432/airflow"
    assert urls["plain"]["celery.broker_url"] == "redis://:@broker1:6379/0"
    assert "database.sql_alchemy_conn_async" not in urls["plain"]


def test_postgresql_and_redis(urls):
    found = urls["postgresql"]
    rest = "://airflow:@db1:5432/airflow?sslmode=verify-full&sslrootcert=/etc/our%20ca.crt"
    assert found["database.sql_alchemy_conn"] == "postgresql+psycopg2" + rest
    assert found["celery.result_backend"] == "db+postgresql+psycopg2" + rest
    assert found["database.sql_alchemy_conn_async"] == "postgresql+psycopg" + rest
    query = "?ssl_cert_reqs=required&ssl_ca_certs=/etc/redis.crt"
    assert found["celery.broker_url"] == "rediss://:@broker1:6379/0" + query


def test_mysql(urls):
    found = urls["mysql"]
    wanted = "mysql+mysqldb://airflow:@db1:3306/airflow?ssl_mode=VERIFY_IDENTITY&ssl_ca=/etc/ca.crt"
    assert found["database.sql_alchemy_conn"] == wanted
    assert "database.sql_alchemy_conn_async" not in found


def test_asynchronous_connections_follow_a_url_that_is_given_whole(urls):
    assert urls["given"]["database.sql_alchemy_conn_async"] == "postgresql+psycopg://u:p@db9/a?sslmode=require"
