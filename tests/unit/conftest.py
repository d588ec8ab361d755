# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import pytest

COLLECTIONS = Path(__file__).resolve().parents[2] / "collections"

# A plain pytest finds the collection through the checkout's own tree; ansible-test brings a loader of its own.
if "ansible_collections" not in sys.modules and COLLECTIONS.is_dir():
    sys.path.insert(0, str(COLLECTIONS))

# What tests of all kinds share.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@pytest.fixture(scope="session")
def aws_environment():
    """The variables of an environment in which moto's server is AWS."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "of-the-test",
        "AWS_SECRET_ACCESS_KEY": "secret-key-of-the-test",
        "AWS_REGION": "ap-southeast-3",
        "AWS_DEFAULT_REGION": "ap-southeast-3",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": host,
    }
    server.stop()


@pytest.fixture
def aws(aws_environment, monkeypatch):
    """AWS, empty, in the environment of the test: aws("rds") is a client."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_environment.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(aws_environment["AWS_ENDPOINT_URL"] + "/moto-api/reset", data=b"").close()
    # A session of its own: boto3's default one remembers the environment of the test before.
    return boto3.session.Session().client
