# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused on hosts where Airflow runs: by name, with a fix, and with nothing touched."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
import yaml
from refusals import refused

MASTER, WORKER = "airflow-gates-m1", "airflow-gates-w1"
CERTIFICATES = "/etc/ssl/servers"


def on(node, *command, data=None):
    """What a command prints on a node."""
    return subprocess.run(
        ["docker", "exec", "-i", node, *command], check=True, text=True, stdout=subprocess.PIPE, input=data
    ).stdout.strip()


def psql(sql, database="postgres"):
    return on(
        MASTER, "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, data=sql
    )


def processes():
    """What runs: another answer after any start, stop or restart."""
    show = "systemctl show --property Id,MainPID,ActiveState,ActiveEnterTimestampMonotonic 'airflow-*'"
    return {node: on(node, "sh", "-c", show) for node in (MASTER, WORKER)}


@pytest.fixture(scope="module")
def secrets():
    folder = pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets"
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


@pytest.fixture
def host_variables(tmp_path):
    """An inventory that gives hosts variables of their own."""

    def write(**hosts):
        names = {"m1": MASTER, "w1": WORKER}
        path = tmp_path / "hosts.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": {names[name]: found for name, found in hosts.items()}}}))
        return path

    return write


@pytest.fixture
def refuse(playbook, secrets):
    """A run that has to be refused, with nothing that runs touched and no secret shown; returns what it says."""

    def run(declared, *arguments, inventories=()):
        before = processes()
        done = playbook(
            "dataops.airflow.site", *arguments, "--extra-vars", json.dumps(declared), inventories=inventories
        )
        assert done.rc != 0
        assert processes() == before
        assert [name for name, secret in secrets.items() if secret in done.output] == []
        return done

    return run


@pytest.fixture
def refuse_before_all(refuse):
    """The same, with no task of any host changed."""

    def run(declared, *arguments, inventories=()):
        done = refuse(declared, *arguments, inventories=inventories)
        assert done.changed == []
        assert "TASK [dataops.airflow.airflow_user" not in done.output
        return done.output

    return run


# --- the hosts as they are


def test_every_connection_is_encrypted():
    rows = psql(
        "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'airflow' GROUP BY 1"
    )
    assert rows.startswith("t|") and "\n" not in rows
    redis = ["redis-cli", "-p", "6380", "--no-auth-warning"]
    password = ["-a", on(MASTER, "sed", "-n", "s/^requirepass //p", "/etc/redis/redis.conf")]
    ports = {
        line.split("laddr=")[1].split()[0].rsplit(":")[-1]
        for line in on(MASTER, *redis, *password, "client", "list").splitlines()
    }
    # The one that asks.
    assert ports == {"6379", "6380"}


def test_airflow_works_through_tls_and_its_own_ports_are_no_strangers(playbook):
    assert playbook("dataops.airflow.verify").rc == 0
    done = playbook("dataops.airflow.site")
    assert done.rc == 0
    assert done.changed == []


def test_asynchronous_connections_are_encrypted_as_well():
    """Airflow opens them for few requests only, so that a wrong URL would show late."""
    code = (
        "import asyncio\nfrom sqlalchemy import text\nfrom airflow.utils.session import create_session_async\n"
        "async def ask():\n"
        "    async with create_session_async() as session:\n"
        "        return (await session.execute(text("
        "'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'))).scalar()\n"
        "print(asyncio.run(ask()))\n"
    )
    environment = "AIRFLOW_HOME=/var/lib/airflow AIRFLOW_CONFIG=/opt/airflow/current/airflow.cfg"
    python = "/opt/airflow/current/release/bin/python"
    said = on(MASTER, "runuser", "-u", "airflow", "--", "sh", "-c", f"{environment} {python} -", data=code)
    assert "True" in said.splitlines()


# --- gate (a)


def test_what_the_inventory_alone_shows(refuse_before_all):
    said = refuse_before_all(
        {
            "airflow_timezone": "Asia/Jakart",
            "airflow_webserver_port": 65536,
            "airflow_visibility_timeout": 3600,
            "airflow_jwt_secret": "tooshort",
            "airflow_options": {
                "schedular": {"a": 1},
                "core": {"paralelism": 1, "default_task_execution_timeout": 86400},
            },
            "airflow_service_worker_autoscale": "2,8",
        }
    )
    for words in (
        "every host: airflow_timezone: there is no time zone Asia/Jakart: did you mean Asia/Jakarta?",
        "airflow_webserver_port: 65536 is not 1 to 65535",
        "airflow_visibility_timeout: a task may run 86400 s",
        "airflow_worker_stop_timeout: a task may run 86400 s, and its worker is killed after 86400 s",
        "airflow_jwt_secret: it has 8 characters, and needs 32",
        "airflow_options.schedular: Airflow 3.3.2 has no such section: did you mean scheduler?",
        "airflow_options.core.paralelism: Airflow 3.3.2 has no such option: did you mean parallelism?",
        "airflow_service_worker_autoscale: '2,8' is no range",
    ):
        assert words in said
    assert "Look at the hosts" not in said


def test_a_version_that_is_not_supported(refuse_before_all):
    said = refuse_before_all({"airflow_version": "2.0.0"})
    assert refused("a-version", said)
    assert "every host: airflow_version: " in said


def test_a_value_of_another_type_for_a_role_that_comes_late(refuse_before_all):
    said = refuse_before_all({"airflow_install_timeout": "soon"})
    assert "every host: airflow_install_timeout: it is of type str and we were unable to convert to int" in said
    assert "Look at the hosts" not in said


def test_an_option_name_that_cannot_be_one(refuse_before_all):
    said = refuse_before_all({"airflow_options": {"my_plugin": {"Color": 1}}, "airflow_extra_sections": ["my_plugin"]})
    assert refused("a-option-name", said)


def test_hosts_that_declare_different_versions(refuse_before_all, host_variables):
    said = refuse_before_all({}, inventories=[host_variables(w1={"airflow_version": "3.3.1"})])
    assert refused("a-versions", said.replace(MASTER, "m1").replace(WORKER, "w1"))


# --- gate (b)


def test_what_the_hosts_show(refuse_before_all, host_variables):
    said = refuse_before_all(
        {
            "airflow_database_host": "db.nowhere.invalid",
            "airflow_broker_port": 6399,
            "airflow_webserver_port": 5432,
            "airflow_root": "/srv/airflow",
            "airflow_preflight_space": 99999999,
            "airflow_task_memory": 99999999,
            "airflow_preflight_systems": ["fedora 40"],
            "airflow_python_executable": "/usr/bin/python9",
        },
        inventories=[host_variables(w1={"airflow_address": "w1.nowhere.invalid"})],
    )
    assert refused("b-name-of-server", said)
    assert refused("b-closed", said)
    assert refused("b-port-taken", said)
    assert refused("b-space", said)
    assert refused("b-system", said)
    assert refused("b-python-missing", said)
    assert refused("b-name-of-host", said)
    assert f"{MASTER}: airflow_address: " in said
    assert f"{WORKER}: airflow_components: worker " in said and "need 100000249 MiB" in said
    assert f"{MASTER}: airflow_webserver_port: " in said
    assert "every host: airflow_broker_host: " in said


def test_a_worker_whose_logs_could_not_be_read(refuse_before_all):
    name = on(WORKER, "hostname")
    on(WORKER, "hostname", "w1.nowhere.invalid")
    try:
        said = refuse_before_all({})
    finally:
        on(WORKER, "hostname", name)
    assert refused("b-own-name", said)
    assert f"{MASTER}: airflow_options.core.hostname_callable: " in said


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (
            {"airflow_database_host": "alias1", "airflow_broker_ca_file": f"{CERTIFICATES}/other.crt"},
            ["b-certificate-name", "b-authority"],
        ),
        (
            {"airflow_database_ca_file": f"{CERTIFICATES}/none.crt", "airflow_broker_port": 6380},
            ["b-authority-missing", "b-no-tls"],
        ),
    ],
    ids=["certificates", "no-tls"],
)
def test_what_the_servers_show_through_tls(refuse_before_all, declared, names):
    said = refuse_before_all(declared)
    assert [name for name in names if not refused(name, said)] == []
    assert "every host: " in said


def test_one_bad_host_stops_all_before_any_is_changed(refuse_before_all, host_variables):
    """Each host sees a clock, or a system, that nobody else on it sees."""
    # What is declared would change every host.
    pending = {"airflow_options": {"core": {"parallelism": 7}}}
    bad = host_variables(w1={"ansible_python_interpreter": "/usr/local/bin/python-late"})
    said = refuse_before_all(pending, inventories=[bad])
    assert refused("b-clock-behind", said)
    assert f"{WORKER}: airflow_preflight_clock_bound" in said
    assert f"{MASTER}: " not in said.split("PLAY RECAP")[0].split('"msg"')[-1]


def test_a_host_that_is_early_and_one_without_systemd(refuse_before_all, host_variables):
    bad = host_variables(
        m1={"ansible_python_interpreter": "/usr/local/bin/python-early"},
        w1={"ansible_python_interpreter": "/usr/local/bin/python-alone"},
    )
    said = refuse_before_all({}, inventories=[bad])
    assert refused("b-clock-ahead", said)
    assert f"{MASTER}: airflow_preflight_clock_bound" in said
    assert refused("b-systemd", said)
    assert f"{WORKER}: systemd does not run this host" in said


# --- gate (c)


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("c-broker-password", {"airflow_broker_password": "not the password"}),
        ("c-broker-password-needed", {"airflow_broker_password": ""}),
        ("c-broker-database", {"airflow_broker_database": 99}),
        ("c-database-password", {"airflow_database_password": "not the password"}),
        ("c-database-missing", {"airflow_database_name": "none"}),
        ("c-database-grant", {"airflow_database_name": "not_granted"}),
        ("c-database-unknown", {"airflow_database_name": "newer"}),
        ("c-connections", {"airflow_database_name": "few"}),
    ],
)
def test_what_the_servers_refuse(refuse, name, declared):
    before = psql("SELECT version_num FROM alembic_version", "airflow")
    done = refuse(declared, "--tags", "config,database")
    assert refused(name, done.output)
    assert f"fatal: [{MASTER}]" in done.output
    assert psql("SELECT version_num FROM alembic_version", "airflow") == before
    assert {line.split(": ")[1].strip() for line in done.changed} <= {"dataops.airflow.airflow_config"}


def test_a_broker_that_speaks_tls_alone_is_not_asked_without(refuse):
    done = refuse({"airflow_broker_ca_file": ""}, "--tags", "config,database")
    assert refused("c-broker-tls", done.output)


def test_nothing_is_migrated_under_processes_of_another_release(refuse):
    """The gate reads from the processes which release they run. The other one is the same by another name."""
    pending = {"airflow_database_name": "behind", "airflow_python_executable": "/usr/bin/python3.11"}
    link = 'cd /opt/airflow/releases && ln -s "$(ls -d 3.3.2-*)" "$1"'
    done = refuse(pending, "--tags", "config,database")
    path = done.output.split("/bin/python is not there")[0].rsplit("/opt/airflow/releases/", 1)[1]
    try:
        on(MASTER, "sh", "-c", link, "sh", path)
        done = refuse(pending, "--tags", "config,database")
    finally:
        on(MASTER, "rm", "-f", f"/opt/airflow/releases/{path}")
    assert refused("c-running", done.output)
    assert "still run: /opt/airflow/releases/3.3.2-" in done.output
    assert psql("SELECT count(*) FROM pg_class WHERE relname = 'dataops_airflow_migration'", "behind") == "0"
