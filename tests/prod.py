# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenarios that deploy inventories/prod have to have in common with it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
INVENTORY = ROOT / "inventories/prod/hosts.yml"
HOME = "/users/airflow/airflow"
# What is a server's address, or a secret.
SERVERS = {"airflow_database_host", "airflow_broker_host"}
SERVERS |= {"airflow_s3_endpoint_url", "airflow_s3_access_key", "airflow_s3_secret_key"}
# How a host of the bench is reached, and what it shares with those beside it.
BENCH = {"ansible_connection", "ansible_user", "airflow_install_cache_dir"}
BENCH |= {"airflow_service_start_timeout", "airflow_service_verify_timeout", "airflow_canary_timeout"}


def _variables(inventory, host):
    """What an inventory says of a host, as it is written there."""
    command = ["ansible-inventory", "-i", str(inventory), "--host", host]
    # Ansible reads the variables beside the working directory as well, such as a scenario's.
    return json.loads(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


def differences(host):
    """The variables of a scenario's host that are not as in inventories/prod, without secrets and those of BENCH."""
    written, ours = _variables(INVENTORY, "airflow-master-1"), _variables(os.environ["MOLECULE_INVENTORY_FILE"], host)
    assert written["airflow_cfg"]["remote_logging"] is True
    names = {name for name in written | ours if name.startswith(("airflow_", "ansible_", "vault_"))}
    secrets = {name for name in written if name.startswith("vault_")}
    return {name for name in names if written.get(name) != ours.get(name)} - BENCH - secrets


def logs(bucket):
    """The names of the tasks' logs in the bucket at that address, below the folder of the article."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{bucket}?list-type=2&prefix=airflow-logs/", timeout=60) as answer:
        return re.findall("<Key>airflow-logs/([^<]*)</Key>", answer.read().decode())
