# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The program that a release's own interpreter runs to find out whether logs can be kept on S3."""

from __future__ import annotations

SOURCE = r"""
import json, socket


def work():
    try:
        import boto3, botocore.config, botocore.exceptions
    except ImportError as error:
        return {"trouble": "no_client", "reason": str(error)}
    bucket, _, prefix = REQUEST["folder"].split("://", 1)[1].partition("/")
    keys = {}
    if REQUEST["access_key"]:
        keys = {"aws_access_key_id": REQUEST["access_key"], "aws_secret_access_key": REQUEST["secret_key"]}
    limits = botocore.config.Config(
        connect_timeout=REQUEST["timeout"], read_timeout=REQUEST["timeout"], retries={"max_attempts": 1}
    )
    # The same each time: where a host has no right to remove it, there is one for each host and no more.
    key = "/".join(part for part in (prefix.strip("/"), "dataops-airflow-probe", socket.gethostname()) if part)
    encryption = {"ServerSideEncryption": "AES256"} if REQUEST["encrypt"] else {}
    step = "s3:ListBucket"
    try:
        session = boto3.session.Session(region_name=REQUEST["region"] or None, **keys)
        client = session.client("s3", endpoint_url=REQUEST["endpoint_url"] or None, config=limits)
        client.list_objects_v2(Bucket=bucket, Prefix=prefix.strip("/"), MaxKeys=1)
        if REQUEST["check"]:
            return {"trouble": ""}
        step = "s3:PutObject"
        client.put_object(Bucket=bucket, Key=key, Body=b"", **encryption)
        step = "s3:GetObject"
        client.get_object(Bucket=bucket, Key=key)
        step = "s3:DeleteObject"
        client.delete_object(Bucket=bucket, Key=key)
    except botocore.exceptions.NoCredentialsError:
        return {"trouble": "no_credentials"}
    except botocore.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        # Airflow itself removes nothing.
        if step == "s3:DeleteObject" and code == "AccessDenied":
            return {"trouble": ""}
        return {"trouble": KINDS.get(code, "refused"), "reason": code, "bucket": bucket, "step": step}
    except botocore.exceptions.BotoCoreError as error:
        return {"trouble": "unreachable", "reason": str(error)}
    return {"trouble": ""}


KINDS = {
    "NoSuchBucket": "no_bucket",
    "AccessDenied": "no_right",
    "InvalidAccessKeyId": "keys",
    "SignatureDoesNotMatch": "keys",
    "AuthFailure": "keys",
    "PermanentRedirect": "region",
    "AuthorizationHeaderMalformed": "region",
    "IllegalLocationConstraintException": "region",
}

print(json.dumps(work()))
"""
