# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The snapshots that RDS makes before a migration, of an instance and of a cluster. moto's server is AWS."""

from __future__ import annotations

import json
import pathlib

import pytest
from controller import play, said

ROOT = pathlib.Path(__file__).resolve().parents[3]
PENDING = {
    "before": {"alembic_version": "1d6611b6ab7c", "alembic_version_fab": None},
    "after": {"alembic_version": "d2f4e1b3c5a7", "alembic_version_fab": "02ca36b0235b"},
}


class Instance:
    variable = "airflow_rds_instance"

    def __init__(self, rds):
        self.rds = rds
        rds.create_db_instance(
            DBInstanceIdentifier="main",
            Engine="postgres",
            EngineVersion="15.4",
            DBInstanceClass="db.t3.medium",
            AllocatedStorage=20,
            MasterUsername="postgres",
            MasterUserPassword="password-of-the-master",
        )

    def make(self, name, tags):
        self.rds.create_db_snapshot(DBInstanceIdentifier="main", DBSnapshotIdentifier=name, Tags=tags)

    def names(self):
        found = self.rds.describe_db_snapshots(DBInstanceIdentifier="main", SnapshotType="manual")["DBSnapshots"]
        return sorted(one["DBSnapshotIdentifier"] for one in found)


class Cluster:
    variable = "airflow_rds_cluster"

    def __init__(self, rds):
        self.rds = rds
        rds.create_db_cluster_parameter_group(
            DBClusterParameterGroupName="ours", DBParameterGroupFamily="aurora-postgresql15", Description="ours"
        )
        rds.create_db_cluster(
            DBClusterIdentifier="main",
            Engine="aurora-postgresql",
            EngineVersion="15.4",
            MasterUsername="postgres",
            MasterUserPassword="password-of-the-master",
            DBClusterParameterGroupName="ours",
        )

    def make(self, name, tags):
        self.rds.create_db_cluster_snapshot(DBClusterIdentifier="main", DBClusterSnapshotIdentifier=name, Tags=tags)

    def names(self):
        found = self.rds.describe_db_cluster_snapshots(DBClusterIdentifier="main", SnapshotType="manual")
        return sorted(one["DBClusterSnapshotIdentifier"] for one in found["DBClusterSnapshots"])


@pytest.fixture(params=[Instance, Cluster])
def server(request, aws):
    return request.param(aws("rds"))


@pytest.fixture
def save(tmp_path, server):
    """What the tasks of a run do that has a migration before it, and did it."""

    def run(*arguments, keep=3):
        role = {"name": "dataops.airflow.airflow_database"}
        tasks = [
            {"ansible.builtin.include_role": dict(role, tasks_from=name)} for name in ("snapshot.yml", "prune.yml")
        ]
        content = {
            "hosts": "m1",
            "gather_facts": False,
            "vars": {
                "__airflow_database_pending": PENDING,
                server.variable: "main",
                "airflow_database_snapshot_keep": keep,
                # What leads to a host leads to no controller.
                "ansible_connection": "ssh",
                "ansible_become": True,
            },
            "tasks": tasks,
        }
        (tmp_path / "play.json").write_text(json.dumps([content]))
        return said(play(tmp_path, *arguments, inventory="m1,"))

    return run


def test_made_and_pruned(server, save):
    own = [{"Key": "dataops.airflow.database", "Value": "airflow"}]
    for number in range(3):
        server.make(f"airflow-earlier-{number}", own)
    server.make("of-somebody-else", [])
    before = server.names()
    told = save("--check")
    assert server.names() == before
    assert told.count("changed:") == 2 and "airflow-earlier-0" in told
    save()
    assert "airflow-earlier-0" not in server.names()
    assert {"airflow-earlier-1", "airflow-earlier-2", "of-somebody-else"} < set(server.names())
    (made,) = set(server.names()) - set(before)
    assert made.startswith("airflow-1d6611b6ab7c-d2f4e1b3c5a7-")


def test_fewer_than_are_kept(server, save):
    assert save().count("changed:") == 1
    assert len(server.names()) == 1
