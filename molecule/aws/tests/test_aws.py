# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection does with AWS, and what it refuses of it. The tests go from what is there to what breaks it."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request

import boto3
import pytest
from refusals import refused

MASTER, WORKER, CLOUD = "airflow-aws-m1", "airflow-aws-w1", "airflow-aws-cloud"
REGION = "ap-southeast-3"
API = "http://172.30.101.11:8080"
DAG = f"dataops_canary__{WORKER}"
SECRETS = ("airflow/database", "airflow/database-admin", "airflow/broker")


def on(node, *command, data=None):
    """What a command prints on a node."""
    return subprocess.run(
        ["docker", "exec", "-i", node, *command], check=True, text=True, stdout=subprocess.PIPE, input=data
    ).stdout.strip()


def client(service):
    return boto3.client(service, region_name=REGION)


def psql(sql, database="airflow"):
    command = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]
    return on(CLOUD, *command, data=sql)


def revision():
    return psql("SELECT version_num FROM alembic_version")


def snapshots():
    """The snapshots that somebody has made of the database, oldest first."""
    found = client("rds").describe_db_snapshots(DBInstanceIdentifier="airflow", SnapshotType="manual")["DBSnapshots"]
    return sorted(found, key=lambda one: one["SnapshotCreateTime"])


def kept_in_secrets_manager():
    manager = client("secretsmanager")
    found = [manager.get_secret_value(SecretId=name)["SecretString"] for name in SECRETS]
    return [json.loads(text)["password"] if text.startswith("{") else text for text in found]


def asked():
    """How often AWS was asked anything but for S3, since it began."""
    return int(on(CLOUD, "sh", "-c", "journalctl --unit moto | grep -c 'POST / '"))


@pytest.fixture
def refuse(playbook):
    """A run that has to be refused, with nothing changed; returns what it says."""

    def run(declared, *arguments):
        done = playbook("dataops.airflow.site", *arguments, "--extra-vars", json.dumps(declared))
        assert done.rc != 0
        assert [line for line in done.changed if "airflow_config" not in line] == []
        assert [secret for secret in kept_in_secrets_manager() if secret in done.output] == []
        return done.output

    return run


# --- what is there


def test_check_mode_named_the_changes_of_the_first_run(records):
    promised = records.changed("converge-check")
    assert promised and promised == records.changed("converge")


def test_the_user_has_what_it_needs_and_no_more():
    who = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = 'airflow'"
    assert psql(who) == "f|f|f|f"
    assert psql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'airflow'") == "postgres_admin"
    assert psql("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'dag_run'") == "airflow"
    rights = "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'airflow'"
    assert psql(f"{rights} AND table_schema NOT IN ('public')", "postgres") == ""


def test_every_connection_is_encrypted():
    rows = psql(
        "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'airflow' GROUP BY 1"
    )
    assert rows.startswith("t|") and "\n" not in rows


def test_second_run_changes_nothing_and_asks_little(playbook):
    before = asked()
    done = playbook("dataops.airflow.site", "-vvv")
    assert done.rc == 0 and done.changed == []
    # Of RDS the server and its parameters, ElastiCache, and each secret; however many tasks and hosts there are.
    assert asked() - before == 3 + len(SECRETS)
    assert snapshots() == []
    assert [secret for secret in kept_in_secrets_manager() if secret in done.output] == []


# --- logs on S3


def ask(path, token=None, data=None):
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(API + path, json.dumps(data).encode() if data else None, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)


def logs():
    """What is in the bucket, by its names."""
    found = client("s3").list_objects_v2(Bucket="airflow", Prefix="airflow-logs/")
    return [one["Key"] for one in found.get("Contents", [])]


def test_a_log_outlives_its_worker(playbook, secrets):
    """The worker is gone, and its disk with it."""
    assert playbook("dataops.airflow.verify").rc == 0
    token = ask("/auth/token", data={"username": "admin", "password": secrets["admin_password"]})["access_token"]
    run = ask(f"/api/v2/dags/{DAG}/dagRuns?order_by=-run_after&limit=1", token)["dag_runs"][0]["dag_run_id"]
    # The worker sends it when the task has ended.
    deadline = time.monotonic() + 120
    while not [name for name in logs() if run in name] and time.monotonic() < deadline:
        time.sleep(1)
    assert [name for name in logs() if run in name]
    assert [name for name in logs() if "probe" in name] == []
    servers = on(WORKER, "grep", "amazonaws", "/etc/hosts")
    subprocess.run(["docker", "kill", WORKER], check=True, stdout=subprocess.DEVNULL)
    try:
        said = ask(f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/canary/logs/1?full_content=true", token)
    finally:
        subprocess.run(["docker", "start", WORKER], check=True, stdout=subprocess.DEVNULL)
        wait = "until systemctl is-system-running --wait; do sleep 1; done"
        subprocess.run(["docker", "exec", WORKER, "sh", "-c", wait], check=False, timeout=300)
        # The engine writes the file anew.
        on(WORKER, "tee", "-a", "/etc/hosts", data=servers + "\n")
    text = json.dumps(said)
    assert f"dataops_canary: run {run} of worker {WORKER}," in text
    assert "s3://airflow/airflow-logs/" in text


# --- what is refused


def test_names_that_aws_does_not_know(refuse):
    said = refuse({"airflow_rds_instance": "nope", "airflow_elasticache": "nope"})
    assert refused("a-rds-missing", said)
    assert refused("a-elasticache-missing", said)
    assert "Look at the hosts" not in said


def test_two_databases_at_once(refuse):
    assert refused("a-rds-both", refuse({"airflow_rds_cluster": "aurora"}))


def test_a_parameter_group_that_is_too_small(refuse):
    said = refuse({"airflow_rds_instance": "small", "airflow_database_ca_file": ""})
    assert "airflow_rds_instance: max_connections is 20 in its parameter group small, and the cluster may open " in said
    assert "airflow_database_ca_file: small takes encrypted connections only (rds.force_ssl)" in said


def test_a_bucket_that_is_not_there(refuse):
    logging = {"remote_logging": True, "remote_log_conn_id": "aws_s3_conn_id"}
    logging["remote_base_log_folder"] = "s3://nowhere/airflow-logs"
    said = refuse({"airflow_options": {"logging": logging}}, "--tags", "config,database")
    assert refused("c-logs-bucket", said)


# --- a migration


@pytest.fixture(scope="module")
def outdated():
    """The database as an older Airflow left it, with nothing running, and the revision it had."""
    was = revision()
    for node in (MASTER, WORKER):
        on(node, "systemctl", "stop", "airflow-*")
    on(MASTER, "airflow", "db", "downgrade", "--yes", "--to-version", "3.2.0")
    assert revision() != was
    rds = client("rds")
    for number in range(3):
        rds.create_db_snapshot(
            DBInstanceIdentifier="airflow",
            DBSnapshotIdentifier=f"airflow-earlier-{number}",
            Tags=[{"Key": "dataops.airflow.database", "Value": "airflow"}],
        )
        time.sleep(1)
    rds.create_db_snapshot(DBInstanceIdentifier="airflow", DBSnapshotIdentifier="of-somebody-else")
    return was


def names():
    return [one["DBSnapshotIdentifier"] for one in snapshots()]


def test_check_mode_tells_of_a_snapshot_and_makes_none(playbook, outdated):
    before, old = names(), revision()
    done = playbook("dataops.airflow.site", "--check", "--tags", "database")
    assert done.rc == 0
    assert [line.split(": ", 1)[1] for line in done.changed] == [
        "dataops.airflow.airflow_database : Bring the metadata database to the release's schema",
        "dataops.airflow.airflow_database : Have RDS make a snapshot of the DB instance",
        "dataops.airflow.airflow_database : Remove snapshots of the DB instance",
    ]
    assert names() == before and revision() == old


def test_a_snapshot_before_the_migration(playbook, outdated):
    old = revision()
    done = playbook("dataops.airflow.site")
    assert done.rc == 0
    assert revision() == outdated
    *earlier, made = snapshots()
    assert made["DBSnapshotIdentifier"].startswith(f"airflow-{old}-{outdated}-")
    assert made["Status"] == "available"
    tags = {tag["Key"]: tag["Value"] for tag in made["TagList"]}
    assert tags["dataops.airflow.database"] == "airflow"
    assert old in tags["dataops.airflow.before"].split() and outdated in tags["dataops.airflow.after"].split()
    # Three are kept, and what is not the role's is left alone.
    assert [one["DBSnapshotIdentifier"] for one in earlier] == [
        "airflow-earlier-1",
        "airflow-earlier-2",
        "of-somebody-else",
    ]


def test_none_without_a_migration(playbook, outdated):
    before = names()
    done = playbook("dataops.airflow.site")
    assert done.rc == 0 and done.changed == []
    assert names() == before


# --- Airflow 1.10


def test_initdb_of_airflow_1_10_on_mariadb_of_rds(playbook):
    """Beside the other one: on a MariaDB of RDS that is empty, down to the tables, and once."""
    declared = {
        "airflow_version": "1.10.15",
        "airflow_python_executable": "/opt/python3.8/bin/python3.8",
        "airflow_root": "/opt/airflow-1.10",
        "airflow_home": "/var/lib/airflow-1.10",
        "airflow_user": "airflow110",
        "airflow_group": "airflow110",
        "airflow_config_command": "/usr/local/bin/airflow-1.10",
        "airflow_webserver_port": 8180,
        "airflow_proxy_port": 8189,
        "airflow_rds_instance": "legacy",
        "airflow_database_admin_user": "admin",
    }
    arguments = ["--tags", "user,python,install,config,database", "--limit", MASTER]
    done = playbook("dataops.airflow.site", *arguments, "--extra-vars", json.dumps(declared))
    assert done.rc == 0

    def mariadb(sql):
        return on(CLOUD, "mariadb", "--batch", "--skip-column-names", data=sql)

    assert mariadb("SELECT version_num FROM airflow.alembic_version") == "03afc6b6f902"
    assert int(mariadb("SELECT count(*) FROM airflow.connection WHERE conn_id = 'airflow_db'")) == 1
    assert mariadb(
        "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'airflow'"
    ) in (
        "utf8",
        "utf8mb3",
    )
    grants = mariadb("SHOW GRANTS FOR airflow@'%'")
    assert "ALL PRIVILEGES" not in grants and "GRANT OPTION" not in grants
    mariadb("DELETE FROM airflow.connection WHERE conn_id = 'airflow_db'")
    again = playbook("dataops.airflow.site", *arguments, "--extra-vars", json.dumps(declared))
    assert again.rc == 0 and again.changed == []
    assert int(mariadb("SELECT count(*) FROM airflow.connection WHERE conn_id = 'airflow_db'")) == 0
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'airflow'"
    assert int(mariadb(tables)) > 20
    assert (
        client("rds").describe_db_snapshots(DBInstanceIdentifier="legacy", SnapshotType="manual")["DBSnapshots"] == []
    )
