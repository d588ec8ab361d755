# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metadata databases that the releases have migrated, the exporter of each, and one Prometheus that asks them all.

The exporters log in as the users that the role makes, with the configuration that the role writes.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from controller import play, said
from databases import Database
from prometheus import running
from releases import LOCKS
from servers import ADMIN, PASSWORD, SERVERS, Redis, run

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = pathlib.Path(sys.executable).parent
# MariaDB is what only 1.10 does with.
DATABASES = [
    (version, server)
    for version, servers in (
        ("1.10.15", ("postgresql", "mariadb")),
        ("2.11.2", ("postgresql", "mysql")),
        ("3.3.2", ("postgresql", "mysql")),
    )
    for server in servers
]
# Seconds.
INTERVAL = 1
TIMEOUT = 1
# The distribution's exporter of MySQL has a user of its own here: a password with a ? is refused where it is in use.
OF_MYSQL = {
    "airflow_monitor_database_user": "{{ airflow_database_name | replace('airflow', 'exporter') }}",
    "airflow_monitor_database_password": PASSWORD.replace("?", ";`"),
}


@pytest.fixture(scope="session")
def servers():
    with ThreadPoolExecutor() as pool:
        made = {server.name: server for server in pool.map(lambda server: server(), SERVERS.values())}
    yield made
    for server in made.values():
        server.remove()


@pytest.fixture(scope="session")
def drivers(tmp_path_factory):
    """The drivers of MySQL that have no need of a compiler."""
    place = tmp_path_factory.mktemp("drivers")
    lock = LOCKS / "2.11.2.txt"
    pins = [re.search(rf"^{name}==\S+", lock.read_text(), re.M).group(0) for name in ("pymysql", "aiomysql")]
    command = [PROGRAMS / "uv", "pip", "install", "--quiet", "--target", place, "--python", sys.executable]
    run(*command, "--require-hashes", "--constraint", lock, "--requirement", "-", input="\n".join(pins))
    # Airflow 3 will not be without mysqlclient, which it has no use for beside another driver.
    (place / "MySQLdb").mkdir()
    (place / "MySQLdb/__init__.py").touch()
    (place / "MySQLdb/converters.py").write_text("conversions, DateTime2literal = {}, None\n")
    return place


@pytest.fixture(scope="session")
def made(servers, drivers, tmp_path_factory):
    """All databases by name, migrated."""
    place = tmp_path_factory.mktemp("databases")
    found = [Database(version, servers[server], place) for version, server in DATABASES]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda database: database.migrate(drivers), found))
    return {database.name: database for database in found}


def changes(shown):
    """The tasks of a run that change something, each with where."""
    tasks = re.findall(r"^TASK \[(.*?)\] \*+\n(.*?)\n\n", shown, re.M | re.S)
    return {(name, where) for name, said in tasks for where in re.findall(r"^changed: \[([^] ]+)", said, re.M)}


@pytest.fixture(scope="session")
def written(made, tmp_path_factory):
    """The directory of what the roles write: each exporter's configuration, and the jobs of Prometheus.

    A database's container stands for the monitor of its cluster. The accounts are made by the roles' own tasks: that of
    the exporter, and one that Airflow itself would have.
    """
    place = tmp_path_factory.mktemp("written")
    hosts = {
        database.name: {
            "ansible_connection": "community.docker.docker",
            "ansible_host": database.server.container,
            "ansible_python_interpreter": "/usr/bin/python3",
            "airflow_address": "127.0.0.1",
            "airflow_version": database.version,
            "airflow_database_type": database.server.kind,
            "airflow_database_host": database.server.address,
            "airflow_database_port": database.server.port,
            "airflow_database_name": database.schema,
            "airflow_database_password": "pw",
            "airflow_database_admin_user": ADMIN,
            "airflow_database_admin_password": PASSWORD,
            "airflow_monitor_database_user": database.user,
            "airflow_monitor_database_password": PASSWORD,
            "airflow_sql_exporter_port": database.port,
            "airflow_exporters_interval": f"{INTERVAL}s",
            "airflow_exporters_statement_timeout": TIMEOUT,
        }
        for database in made.values()
    }
    role = "dataops.airflow.airflow_exporters"
    tasks = [
        {
            "name": "Make an account for Airflow",
            "ansible.builtin.include_role": {"name": "dataops.airflow.airflow_database", "tasks_from": "account"},
            "vars": {
                "airflow_database_user": "{{ airflow_monitor_database_user | replace('monitor', 'owner') }}",
                "airflow_database_password": PASSWORD,
            },
        },
        *(
            {
                "name": "Make the account",
                "ansible.builtin.include_role": {"name": role, "tasks_from": f"account_{kind}", "public": True},
                "when": f"airflow_database_type == '{kind}'",
            }
            for kind in ("postgresql", "mysql")
        ),
        {
            "name": "Make the account of the distribution's exporter of MySQL",
            "ansible.builtin.include_role": {"name": role, "tasks_from": "account_mysql", "public": True},
            "vars": OF_MYSQL,
            "when": "airflow_database_type == 'mysql'",
        },
        *(
            {
                "name": f"Write {file}",
                "delegate_to": "localhost",
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **account},
                "ansible.builtin.template": {
                    "src": f"{ROOT}/roles/airflow_exporters/templates/{file}.j2",
                    "dest": f"{place}/{{{{ inventory_hostname }}}}.{file.rpartition('.')[2]}",
                    "mode": "0600",
                },
            }
            for file, account in (("sql_exporter.yml", {}), ("mysql_exporter.cnf", OF_MYSQL))
        ),
    ]
    children = {"master": {"hosts": {"m1": {"ansible_connection": "local"}}}, "monitor": {"hosts": hosts}}
    (place / "hosts.json").write_text(json.dumps({"all": {"children": children}}))
    (place / "account.json").write_text(json.dumps([{"hosts": "monitor", "gather_facts": False, "tasks": tasks}]))
    pipelined = {"playbook": "account.json", "ANSIBLE_PIPELINING": "1"}
    promised = said(play(place, "--check", **pipelined))
    kept = said(play(place, **pipelined))
    assert changes(promised) ^ changes(kept) == set() != changes(kept)
    again = said(play(place, **pipelined))
    assert "changed=0" in again and not re.search("changed=[1-9]", again), again
    assert PASSWORD not in kept + again
    said(play(place, playbook=ROOT / "playbooks/monitoring_files.yml"))
    return place


@pytest.fixture(scope="session")
def exported(made, written, tmp_path_factory):
    """All databases by name, each with its exporter at work, and with Prometheus to ask."""
    scrapes = yaml.safe_load((written / "monitoring/scrape.yml").read_text())["scrape_configs"]
    # The others look at what is not there.
    scrapes = [dict(job, scrape_interval=f"{INTERVAL}s") for job in scrapes if job["job_name"] == "airflow"]
    try:
        for database in made.values():
            database.start((written / f"{database.name}.yml").read_text())
        with running(tmp_path_factory.mktemp("prometheus"), scrapes=scrapes) as url:
            for database in made.values():
                database.prometheus = url
            yield made
    finally:
        for database in made.values():
            database.stop()


@pytest.fixture(params=["-".join((".".join(version.split(".")[:2]), server)) for version, server in DATABASES])
def database(request, exported):
    return exported[request.param]


@pytest.fixture(scope="session")
def redis():
    server = Redis()
    yield server
    server.remove()
