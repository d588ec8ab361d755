# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWS says, as the lookups tell it. moto's server is AWS, a playbook asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import pytest
from ansible_collections.dataops.airflow.plugins.plugin_utils import _aws
from refusals import refused


@pytest.fixture
def look(tmp_path, aws):
    """The answers of lookups, of one run of ansible-playbook on several hosts."""

    def run(*expressions, check=True):
        tasks = [{"ansible.builtin.debug": {"msg": "{{ %s }}" % expression}} for expression in expressions]
        (tmp_path / "play.json").write_text(json.dumps([{"hosts": "a,b,c", "gather_facts": False, "tasks": tasks}]))
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "a,b,c,", "play.json"],
            cwd=tmp_path,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(
                os.environ,
                ANSIBLE_CALLBACK_RESULT_INDENTATION="0",
                ANSIBLE_COLLECTIONS_PATH=collections(),
                ANSIBLE_LOCAL_TEMP=str(tmp_path / "tmp"),
                ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
            ),
        )
        if not check:
            return done.stdout
        assert done.returncode == 0, done.stdout + done.stderr
        hosts = [task["hosts"] for task in json.loads(done.stdout)["plays"][0]["tasks"]]
        found = [[task[host]["msg"] for task in hosts] for host in "abc"]
        assert found[0] == found[1] == found[2]
        return found[0]

    return run


def collections():
    """Where this collection is found, whoever runs the tests."""
    return os.path.abspath(os.path.join(os.path.dirname(_aws.__file__), *[os.pardir] * 5))


def parameter_group(rds, name, **values):
    rds.create_db_parameter_group(DBParameterGroupName=name, DBParameterGroupFamily="mysql8.0", Description=name)
    rds.modify_db_parameter_group(
        DBParameterGroupName=name,
        Parameters=[
            {"ParameterName": key, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
            for key, value in values.items()
        ],
    )


def instance(rds, name="airflow", **more):
    wanted = {
        "DBInstanceIdentifier": name,
        "Engine": "mysql",
        "EngineVersion": "8.0.36",
        "DBInstanceClass": "db.t3.medium",
        "AllocatedStorage": 20,
        "MasterUsername": "admin",
        "MasterUserPassword": "password-of-the-admin",
    }
    return rds.create_db_instance(**dict(wanted, **more))["DBInstance"]


def cluster(rds, name="airflow", **more):
    wanted = {
        "DBClusterIdentifier": name,
        "Engine": "aurora-mysql",
        "EngineVersion": "8.0.mysql_aurora.3.05.2",
        "MasterUsername": "admin",
        "MasterUserPassword": "password-of-the-admin",
    }
    return rds.create_db_cluster(**dict(wanted, **more))["DBCluster"]


def group(cache, name="airflow", **more):
    wanted = {
        "ReplicationGroupId": name,
        "ReplicationGroupDescription": name,
        "Engine": "redis",
        "CacheNodeType": "cache.t3.micro",
        "NumCacheClusters": 1,
    }
    return cache.create_replication_group(**dict(wanted, **more))["ReplicationGroup"]


# --- RDS


def test_an_instance(aws, look):
    rds = aws("rds")
    parameter_group(rds, "ours", max_connections="200", character_set_server="utf8mb4", innodb_buffer_pool_size="1")
    made = instance(rds, DBParameterGroupName="ours", Port=3307)
    (found,) = look("lookup('dataops.airflow.rds', 'airflow')")
    assert found == {
        "arn": made["DBInstanceArn"],
        "cluster": False,
        "endpoint": made["Endpoint"]["Address"],
        "engine": "mysql",
        "identifier": "airflow",
        "parameter_groups": ["ours"],
        "parameters": {"max_connections": "200", "character_set_server": "utf8mb4"},
        "port": 3307,
        "problem": "",
        "product": "mysql",
        "status": "available",
        "type": "mysql",
        "version": "8.0.36",
    }


def test_a_cluster_and_other_engines(aws, look):
    rds = aws("rds")
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="ours", DBParameterGroupFamily="aurora-mysql8.0", Description="ours"
    )
    made = cluster(rds, DBClusterParameterGroupName="ours")
    instance(rds, "maria", Engine="mariadb", EngineVersion="10.11.6")
    instance(rds, "post", Engine="postgres", EngineVersion="15.4")
    found = look(
        "lookup('dataops.airflow.rds', 'airflow', cluster=true)",
        "lookup('dataops.airflow.rds', 'maria')",
        "lookup('dataops.airflow.rds', 'post')",
    )
    assert found[0]["cluster"] and found[0]["endpoint"] == made["Endpoint"] and found[0]["port"] == 3306
    assert [(one["product"], one["type"], one["version"]) for one in found] == [
        ("mysql", "mysql", "8.0"),
        ("mariadb", "mysql", "10.11.6"),
        ("postgresql", "postgresql", "15.4"),
    ]


def test_what_is_refused_of_rds(aws, look):
    rds = aws("rds")
    instance(rds)
    instance(rds, "oracle", Engine="oracle-ee", EngineVersion="19.0")
    rds.create_db_instance_read_replica(DBInstanceIdentifier="replica", SourceDBInstanceIdentifier="airflow")
    cluster(rds, "aurora")
    rds.create_db_instance(
        DBInstanceIdentifier="writer",
        DBClusterIdentifier="aurora",
        Engine="aurora-mysql",
        DBInstanceClass="db.t3.medium",
    )
    ask = "lookup('dataops.airflow.rds', '%s', fail=false).problem"
    names = {
        "nope": "a-rds-missing",
        "oracle": "a-rds-engine",
        "replica": "a-rds-replica",
        "writer": "a-rds-member",
    }
    for name, problem in zip(names, look(*[ask % name for name in names])):
        assert refused(names[name], f"airflow_rds_instance: {problem}"), problem
    said = look("lookup('dataops.airflow.rds', 'nope')", check=False)
    assert "has no DB instance nope" in said


def test_a_stopped_instance_is_not_waited_for(aws, look):
    rds = aws("rds")
    instance(rds)
    rds.stop_db_instance(DBInstanceIdentifier="airflow")
    (problem,) = look("lookup('dataops.airflow.rds', 'airflow', fail=false).problem")
    assert refused("a-rds-state", f"airflow_rds_instance: {problem}"), problem


class Later:
    """An API of RDS that has the server available when it was asked several times."""

    def __init__(self, *states):
        self.states = list(states)
        self.meta = types.SimpleNamespace(region_name="ap-southeast-3")

    def describe_db_instances(self, **_which):
        status = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        found = {"DBInstanceStatus": status, "Engine": "postgres", "EngineVersion": "16.3", "DBInstanceArn": "arn"}
        if status == "available":
            found["Endpoint"] = {"Address": "db.example", "Port": 5432}
        return {"DBInstances": [found]}

    def get_paginator(self, _what):
        return types.SimpleNamespace(paginate=lambda **_which: [])


class Asking(_aws.Describer):
    describe = staticmethod(_aws.instance)
    timeout = 60

    def get_option(self, _name):
        return self.timeout


def test_an_instance_is_waited_for(monkeypatch):
    slept = []
    monkeypatch.setattr(_aws.time, "sleep", slept.append)
    found = Asking()._available(Later("creating", "backing-up", "modifying", "available"), "airflow")
    assert found["endpoint"] == "db.example" and slept == [10, 10, 10]


def test_the_wait_has_a_bound(monkeypatch):
    monkeypatch.setattr(Asking, "timeout", 0)
    with pytest.raises(_aws.Unfit) as error:
        Asking()._available(Later("creating"), "airflow")
    assert refused("a-rds-wait", f"airflow_rds_instance: {error.value}".replace("after 0 s", "after 900 s"))


# --- ElastiCache


def test_a_replication_group(aws, look):
    made = group(aws("elasticache"), TransitEncryptionEnabled=True, AuthToken="0123456789abcdef")
    (found,) = look("lookup('dataops.airflow.elasticache', 'airflow')")
    primary = made["NodeGroups"][0]["PrimaryEndpoint"]
    assert (found["endpoint"], found["port"]) == (primary["Address"], primary["Port"])
    assert found["tls"] and found["password"] and found["engine"] == "redis"


def test_a_single_cache():
    class Api:
        class meta:
            region_name = "ap-southeast-3"

        @staticmethod
        def describe_replication_groups(**_which):
            error = {"Error": {"Code": "ReplicationGroupNotFoundFault"}}
            raise _aws.botocore.exceptions.ClientError(error, "DescribeReplicationGroups")

        @staticmethod
        def describe_cache_clusters(**_which):
            node = {"Endpoint": {"Address": "one.example", "Port": 6380}}
            found = {
                "Engine": "valkey",
                "EngineVersion": "8.0",
                "CacheClusterStatus": "available",
                "CacheNodes": [node],
            }
            return {"CacheClusters": [found]}

    found = _aws.cache(Api, "one")
    assert (found["endpoint"], found["port"], found["engine"]) == ("one.example", 6380, "valkey")
    assert not found["tls"] and not found["password"]


def test_what_is_refused_of_elasticache(aws, look):
    cache = aws("elasticache")
    group(cache)
    group(cache, "sharded", NumNodeGroups=2, ClusterMode="enabled", AutomaticFailoverEnabled=True)
    cache.create_cache_cluster(
        CacheClusterId="memory", Engine="memcached", CacheNodeType="cache.t3.micro", NumCacheNodes=1
    )
    ask = "lookup('dataops.airflow.elasticache', '%s', fail=false).problem"
    names = {"nope": "a-elasticache-missing", "memory": "a-elasticache-engine", "sharded": "a-elasticache-mode"}
    for name, problem in zip(names, look(*[ask % name for name in names])):
        assert refused(names[name], f"airflow_elasticache: {problem}"), problem


# --- both


def test_aws_that_cannot_be_asked(look, monkeypatch):
    ask = "lookup('dataops.airflow.rds', 'airflow', fail=false).problem"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (problem,) = look(ask)
    assert refused("a-aws-credentials", f"airflow_rds_instance: {problem}"), problem
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (problem,) = look(ask)
    assert "airflow_aws_region" in problem


def test_asked_once_in_a_run(look, tmp_path):
    """By three hosts and twice each: the lookup pipe counts."""
    count = f"echo asked >>{tmp_path}/asked; wc -l <{tmp_path}/asked"
    ask = f"lookup('dataops.airflow.once', 'ansible.builtin.pipe', '{count}')"
    assert look(ask, ask) == ["1", "1"]
    assert look(ask, ask) == ["2", "2"]


def test_memory_is_its_users_alone_and_goes_with_the_run(look, tmp_path):
    modes = f"find {tmp_path}/tmp -path '*once*' -printf '%y%m '"
    secret = "lookup('dataops.airflow.once', 'ansible.builtin.pipe', 'echo hunter2')"
    (found,) = look(f"{secret} ~ lookup('ansible.builtin.pipe', \"{modes}\")")
    assert found == "hunter2d700 f600"
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]


def test_a_failure_is_not_remembered(look, tmp_path):
    ask = "lookup('dataops.airflow.once', 'ansible.builtin.file', '%s/none')" % tmp_path
    assert "none" in look(ask, check=False)
    assert "there is no lookup my.own.none" in look("lookup('dataops.airflow.once', 'my.own.none', 1)", check=False)
