# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What AWS says of the servers of database and broker, in the words of this collection."""

from __future__ import annotations

import functools
import re
import time

from ansible.errors import AnsibleLookupError

try:
    import botocore.exceptions
except ImportError:
    pass  # amazon.aws tells of it when it is asked for a client

from ._once import once

try:
    from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleBotocoreError
    from ansible_collections.amazon.aws.plugins.plugin_utils.lookup import AWSLookupBase
except ImportError:
    # Who does not use AWS does not need it.
    from ansible.plugins.lookup import LookupBase as AWSLookupBase

    class AnsibleBotocoreError(Exception):
        """Never raised."""

    AMAZON_AWS = False
else:
    AMAZON_AWS = True

POLL_SECONDS = 10

# Engine of RDS -> product, and type of the database as the collection's variables know it.
ENGINES = {
    "postgres": ("postgresql", "postgresql"),
    "aurora-postgresql": ("postgresql", "postgresql"),
    "mysql": ("mysql", "mysql"),
    "aurora-mysql": ("mysql", "mysql"),
    "mariadb": ("mariadb", "mysql"),
}

# The parameters that decide whether a server can be Airflow's.
PARAMETERS = (
    "character_set_server",
    "explicit_defaults_for_timestamp",
    "max_connections",
    "rds.force_ssl",
    "require_secure_transport",
)

# Servers answer in these states as well.
_WORKING = {"available", "backing-up", "storage-optimization", "snapshotting"}
# What does not become available by itself.
_ENDED = re.compile(r"delet|fail|stop|incompatible|inaccessible|error|full|restore-")
_DENIED = re.compile(r"denied|not authorized|unauthorized|token|signature", re.IGNORECASE)


class Unfit(Exception):
    """What is wrong, with what to do."""


class Describer(AWSLookupBase):
    """A lookup that describes something of AWS by its identifier, asked for once in a run."""

    service = ""

    def describe(self, client, name):
        """What AWS says of the thing, with its `status`. Raises Unfit."""
        raise NotImplementedError

    def run(self, terms, variables=None, **kwargs):
        trouble = ""
        try:
            if not AMAZON_AWS:
                raise Unfit("the collection amazon.aws is missing")
            super().run(terms, variables or {}, **kwargs)
        except (AnsibleBotocoreError, Unfit) as error:
            trouble = "%s: install it where ansible-playbook runs" % error
        asked = {name: value for name, value in kwargs.items() if name not in ("fail", "timeout")}
        described = [
            once([type(self).__module__, name, asked], functools.partial(self._answer, str(name), trouble))
            for name in terms
        ]
        wrong = [one["problem"] for one in described if one["problem"]]
        if wrong and kwargs.get("fail", True):
            raise AnsibleLookupError(wrong[0])
        return described

    def _answer(self, name, trouble):
        try:
            if trouble:
                raise Unfit(trouble)
            if not self.region:
                raise Unfit("it is not known where to look: name the region in airflow_aws_region")
            return dict(self._available(self.client(self.service), name), problem="")
        except Unfit as unfit:
            problem = str(unfit)
        except botocore.exceptions.ClientError as error:
            fix = "allow it to who runs ansible-playbook" if _DENIED.search(str(error)) else "see what it means by that"
            problem = "%s: %s" % (error, fix)
        except (AnsibleLookupError, botocore.exceptions.BotoCoreError) as error:
            problem = "AWS cannot be asked (%s): give ansible-playbook credentials, and a way to AWS" % error
        return {"identifier": name, "problem": problem}

    def _available(self, client, name):
        deadline = time.monotonic() + self.get_option("timeout")
        while True:
            found = self.describe(client, name)
            if found["status"] in _WORKING:
                return found
            if _ENDED.search(found["status"]):
                raise Unfit("%s is in the state %s: make it available" % (name, found["status"]))
            if time.monotonic() >= deadline:
                waited = self.get_option("timeout")
                raise Unfit(
                    "%s is still in the state %s after %d s: see what it waits for, or raise airflow_aws_timeout"
                    % (name, found["status"], waited)
                )
            time.sleep(min(POLL_SECONDS, max(0.1, deadline - time.monotonic())))


def missing(error):
    """Whether AWS says that there is no such thing."""
    return "NotFound" in error.response["Error"]["Code"]


def unknown(client, what, name, others):
    """There is no such thing: tells which there are."""
    known = ", ".join(sorted(others)[:10]) or "none"
    return Unfit("%s has no %s %s: it has: %s" % (client.meta.region_name, what, name, known))


# --- RDS


def instance(client, name):
    """A DB instance of RDS."""
    try:
        found = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    except botocore.exceptions.ClientError as error:
        if not missing(error):
            raise
        others = client.describe_db_instances()["DBInstances"]
        raise unknown(client, "DB instance", name, [one["DBInstanceIdentifier"] for one in others]) from error
    if found.get("DBClusterIdentifier"):
        raise Unfit(
            "%s is a member of the cluster %s, whose writer may become another one: name the cluster in "
            "airflow_rds_cluster instead" % (name, found["DBClusterIdentifier"])
        )
    if found.get("ReadReplicaSourceDBInstanceIdentifier"):
        source = found["ReadReplicaSourceDBInstanceIdentifier"]
        raise Unfit("%s is a replica of %s, and read-only: name that one" % (name, source))
    endpoint = found.get("Endpoint") or {}
    groups = [group["DBParameterGroupName"] for group in found.get("DBParameterGroups") or []]
    return _server(
        found,
        name,
        found["DBInstanceStatus"],
        endpoint.get("Address"),
        endpoint.get("Port"),
        {
            "cluster": False,
            "arn": found["DBInstanceArn"],
            "parameter_groups": groups,
            "parameters": lambda: _parameters(_instance_parameters(client, groups)),
        },
    )


def cluster(client, name):
    """A DB cluster of RDS, Aurora's or not."""
    try:
        found = client.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
    except botocore.exceptions.ClientError as error:
        if not missing(error):
            raise
        others = client.describe_db_clusters()["DBClusters"]
        raise unknown(client, "DB cluster", name, [one["DBClusterIdentifier"] for one in others]) from error
    group = found.get("DBClusterParameterGroup")
    writers = [one["DBInstanceIdentifier"] for one in found.get("DBClusterMembers") or [] if one["IsClusterWriter"]]

    def parameters():
        pages = client.get_paginator("describe_db_cluster_parameters").paginate(DBClusterParameterGroupName=group)
        common = _parameters(one for page in pages for one in page["Parameters"])
        own = []
        for writer in writers:
            member = client.describe_db_instances(DBInstanceIdentifier=writer)["DBInstances"][0]
            own += _instance_parameters(client, [one["DBParameterGroupName"] for one in member["DBParameterGroups"]])
        # What an instance's group only has by default, the cluster's decides.
        chosen = _parameters(one for one in own if one.get("Source", "user") == "user")
        return dict(_parameters(own), **dict(common, **chosen))

    return _server(
        found,
        name,
        found["Status"],
        found.get("Endpoint"),
        found.get("Port"),
        {
            "cluster": True,
            "arn": found["DBClusterArn"],
            "parameter_groups": [group] if group else [],
            "parameters": parameters if group else dict,
        },
    )


def _server(found, name, status, address, port, more):
    if found["Engine"] not in ENGINES:
        known = ", ".join(sorted(ENGINES))
        raise Unfit("%s runs %s, which Airflow cannot use: use one of %s" % (name, found["Engine"], known))
    product, kind = ENGINES[found["Engine"]]
    # Aurora's begins with that of MySQL: 8.0.mysql_aurora.3.05.2
    version = re.match(r"[0-9]+(\.[0-9]+)*", found["EngineVersion"])
    ready = status in _WORKING and bool(address)
    return dict(
        more,
        identifier=name,
        status=status if ready or status not in _WORKING else "creating",
        engine=found["Engine"],
        product=product,
        type=kind,
        version=version[0] if version else found["EngineVersion"],
        endpoint=address,
        port=port,
        parameters=more["parameters"]() if ready else {},
    )


def _instance_parameters(client, groups):
    pages = client.get_paginator("describe_db_parameters")
    return [
        one for group in groups for page in pages.paginate(DBParameterGroupName=group) for one in page["Parameters"]
    ]


def _parameters(found):
    return {
        one["ParameterName"]: one["ParameterValue"]
        for one in found
        if one["ParameterName"] in PARAMETERS and one.get("ParameterValue") is not None
    }


# --- ElastiCache


def cache(client, name):
    """A replication group of ElastiCache, or a single cache cluster."""
    try:
        found = client.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    except botocore.exceptions.ClientError as error:
        if not missing(error):
            raise
        return _single(client, name)
    if found.get("ClusterEnabled"):
        raise Unfit("%s is in cluster mode, which Celery cannot use: use one with cluster mode disabled" % name)
    nodes = found.get("NodeGroups") or [{}]
    return _broker(found, name, found["Status"], nodes[0].get("PrimaryEndpoint") or {})


def _single(client, name):
    try:
        listed = client.describe_cache_clusters(CacheClusterId=name, ShowCacheNodeInfo=True)
    except botocore.exceptions.ClientError as error:
        if not missing(error):
            raise
        others = [one["ReplicationGroupId"] for one in client.describe_replication_groups()["ReplicationGroups"]]
        others += [
            one["CacheClusterId"]
            for one in client.describe_cache_clusters()["CacheClusters"]
            if not one.get("ReplicationGroupId")
        ]
        raise unknown(client, "replication group or cache cluster", name, others) from error
    found = listed["CacheClusters"][0]
    if found.get("ReplicationGroupId"):
        group = found["ReplicationGroupId"]
        raise Unfit("%s is a node of the replication group %s: name that one" % (name, group))
    nodes = found.get("CacheNodes") or [{}]
    return _broker(found, name, found["CacheClusterStatus"], nodes[0].get("Endpoint") or {})


def _broker(found, name, status, endpoint):
    # A group tells its engine since 2024.
    engine = found.get("Engine") or "redis"
    if engine not in ("redis", "valkey"):
        raise Unfit("%s runs %s, which keeps no queues: use Redis or Valkey" % (name, engine))
    return {
        "identifier": name,
        "status": status if status not in _WORKING or endpoint else "creating",
        "engine": engine,
        "version": found.get("EngineVersion") or "",
        "endpoint": endpoint.get("Address"),
        "port": endpoint.get("Port"),
        "tls": bool(found.get("TransitEncryptionEnabled")) and found.get("TransitEncryptionMode") != "preferred",
        "password": bool(found.get("AuthTokenEnabled")),
    }
