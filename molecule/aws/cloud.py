# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody has ordered at AWS before Airflow comes. Prints the names that AWS gave to the servers."""

from __future__ import annotations

import json
import secrets

import boto3

REGION = "ap-southeast-3"


def client(service):
    return boto3.client(service, region_name=REGION)


def databases():
    """PostgreSQL that takes encrypted connections only, another that is too small, and MariaDB for Airflow 1.10."""
    rds = client("rds")
    admin = secrets.token_urlsafe(24)
    for name, most in (("airflow", "120"), ("small", "20")):
        rds.create_db_parameter_group(
            DBParameterGroupName=name, DBParameterGroupFamily="postgres15", Description="Airflow"
        )
        parameters = {"rds.force_ssl": "1", "max_connections": most}
        rds.modify_db_parameter_group(
            DBParameterGroupName=name,
            Parameters=[
                {"ParameterName": key, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
                for key, value in parameters.items()
            ],
        )
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            Engine="postgres",
            EngineVersion="15.4",
            DBInstanceClass="db.t3.medium",
            AllocatedStorage=20,
            MasterUsername="postgres_admin",
            MasterUserPassword=admin,
            DBParameterGroupName=name,
            Port=5432,
        )
    rds.create_db_instance(
        DBInstanceIdentifier="legacy",
        Engine="mariadb",
        EngineVersion="10.11.6",
        DBInstanceClass="db.t3.medium",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword=admin,
        Port=3306,
    )
    keep("airflow/database-admin", json.dumps({"username": "postgres_admin", "password": admin}))
    keep("airflow/database", secrets.token_urlsafe(24))
    return [one["Endpoint"]["Address"] for one in rds.describe_db_instances()["DBInstances"]]


def broker():
    cache = client("elasticache")
    token = secrets.token_urlsafe(24)
    made = cache.create_replication_group(
        ReplicationGroupId="airflow",
        ReplicationGroupDescription="Airflow",
        Engine="redis",
        CacheNodeType="cache.t3.micro",
        NumCacheClusters=1,
        TransitEncryptionEnabled=True,
        AuthToken=token,
        Port=6379,
    )
    keep("airflow/broker", token)
    return [made["ReplicationGroup"]["NodeGroups"][0]["PrimaryEndpoint"]["Address"]]


def keep(name, value):
    client("secretsmanager").create_secret(Name=name, SecretString=value)


def main():
    client("s3").create_bucket(Bucket="airflow", CreateBucketConfiguration={"LocationConstraint": REGION})
    print(json.dumps(databases() + broker()))


if __name__ == "__main__":
    main()
