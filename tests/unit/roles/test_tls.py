# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the authorities, and nothing else, make the URLs ones of verified TLS, as each client spells it."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest
from controller import play, said

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOSTS = {
    "plain": {},
    "postgresql": {"airflow_database_ca_file": "/etc/our ca.crt", "airflow_broker_ca_file": "/etc/redis.crt"},
    "mysql": {"airflow_database_ca_file": "/etc/ca.crt", "airflow_database_type": "mysql"},
    "given": {"airflow_database_url": "postgres+psycopg2://u:p@db9/a?sslmode=require"},
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    """The URLs of each host's deployment."""
    folder = tmp_path_factory.mktemp("urls")
    shared = {
        "ansible_connection": "local",
        "airflow_database_host": "db1",
        "airflow_broker_host": "broker1",
        "airflow_lock_file": "",
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "hosts": HOSTS}}))
    show = "{{ airflow_deployment.secrets | to_json }}"
    tasks = [
        {"ansible.builtin.import_role": {"name": "dataops.airflow.airflow", "tasks_from": "validate"}},
        {
            "ansible.builtin.copy": {
                "content": show,
                "dest": str(folder) + "/{{ inventory_hostname }}.json",
                "mode": "0600",
            }
        },
    ]
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    said(play(folder, "-e", f"ansible_python_interpreter={sys.executable}"))
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in HOSTS}


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
