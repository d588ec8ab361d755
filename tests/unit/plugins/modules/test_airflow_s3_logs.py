# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host may do on S3. moto's server is S3, and knows who may do what."""

from __future__ import annotations

import json
import os
import pwd
import sys
import sysconfig
import urllib.request

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_s3_logs
from refusals import refused

REGION = "ap-southeast-3"


@pytest.fixture
def prove(tmp_path, aws_environment, monkeypatch):
    """The module's result on a host whose release has boto3."""
    site = tmp_path / "venv" / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    site.mkdir(parents=True)
    (tmp_path / "venv/bin").mkdir()
    base = getattr(sys, "_base_executable", None) or sys.executable
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\n")
    (tmp_path / "venv/bin/python").symlink_to(base)
    (site / "boto3.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "airflow.cfg").write_text("")
    (tmp_path / "environment").write_text('AWS_EC2_METADATA_DISABLED="true"\n')

    def run(check=False, **options):
        given = {
            "venv": str(tmp_path / "venv"),
            "home": str(tmp_path),
            "config": str(tmp_path / "airflow.cfg"),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "folder": "s3://airflow/airflow-logs",
            "access_key": "of-airflow",
            "secret_key": "secret-key-of-airflow",
            "region": REGION,
            "endpoint_url": aws_environment["AWS_ENDPOINT_URL"],
            "timeout": 3,
        }
        given.update(options, _ansible_check_mode=check)
        outcome = {}

        def end(_self, **result):
            outcome.update(result)
            raise SystemExit

        monkeypatch.setattr(basic.AnsibleModule, "exit_json", end)
        monkeypatch.setattr(basic.AnsibleModule, "fail_json", lambda self, **result: end(self, failed=True, **result))
        with patch_module_args(given), pytest.raises(SystemExit):
            airflow_s3_logs.main()
        assert "secret-key-of-airflow" not in str(outcome)
        return outcome

    return run


@pytest.fixture
def bucket(aws):
    s3 = aws("s3")
    s3.create_bucket(Bucket="airflow", CreateBucketConfiguration={"LocationConstraint": REGION})

    def content():
        return [one["Key"] for one in s3.list_objects_v2(Bucket="airflow").get("Contents", [])]

    return content


@pytest.fixture
def user_who_may(aws, aws_environment):
    """Keys of a user of AWS who may do these things on S3, and nothing else."""

    def limit(count):
        url = aws_environment["AWS_ENDPOINT_URL"] + "/moto-api/reset-auth"
        asked = urllib.request.Request(url, count.encode(), {"Content-Type": "text/plain"})
        urllib.request.urlopen(asked).close()

    def make(*actions):
        iam = aws("iam")
        iam.create_user(UserName="airflow")
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="airflow", PolicyName="logs", PolicyDocument=policy)
        key = iam.create_access_key(UserName="airflow")["AccessKey"]
        limit("0")
        return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}

    yield make
    limit("inf")


def test_proven_and_nothing_left(prove, bucket):
    assert prove() == {"changed": False, "proven": True}
    assert prove(encrypt=True, folder="s3://airflow/")["proven"]
    assert bucket() == []


def test_check_mode_writes_nothing(prove, bucket, aws, user_who_may):
    assert prove(check=True, **user_who_may("s3:ListBucket")) == {"changed": False, "proven": False}


def test_no_bucket(prove, aws):
    said = prove(folder="s3://nowhere/airflow-logs")["msg"]
    assert refused("c-logs-bucket", said), said
    assert prove(check=True, folder="s3://nowhere/airflow-logs")["msg"] == said


def test_rights(prove, bucket, user_who_may):
    said = prove(**user_who_may("s3:ListBucket", "s3:GetObject"))["msg"]
    assert refused("c-logs-right", said), said


def test_the_right_to_remove_is_not_needed(prove, bucket, user_who_may):
    assert prove(**user_who_may("s3:ListBucket", "s3:GetObject", "s3:PutObject"))["proven"]


def test_wrong_keys(prove, bucket, user_who_may):
    user_who_may("s3:*")
    said = prove(access_key="AKIANOBODYKNOWS")["msg"]
    assert refused("c-logs-keys", said), said


def test_no_keys_and_no_profile(prove, bucket):
    said = prove(access_key="", secret_key="")["msg"]
    assert refused("c-logs-none", said), said


def test_storage_that_does_not_answer(prove):
    said = prove(endpoint_url="http://127.0.0.1:9")["msg"]
    assert refused("c-logs-away", said), said


def test_release_without_a_client(prove, tmp_path):
    next((tmp_path / "venv").rglob("boto3.pth")).unlink()
    said = prove()["msg"]
    assert refused("c-logs-client", said), said


def test_bare_host(prove, tmp_path):
    (tmp_path / "venv/bin/python").unlink()
    assert prove(check=True) == {"changed": False, "proven": False}
    assert "the release is not installed" in prove()["msg"]
