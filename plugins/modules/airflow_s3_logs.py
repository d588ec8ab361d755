#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_s3_logs
short_description: Prove that a host may keep the logs of tasks on S3
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Lists O(folder), writes a probe of no length there, reads and removes it, with the release's own client and with
    what the host has at hand. It fails with the variable and the fix where that does not work.
  - A host that may not remove the probe passes all the same, as Airflow removes nothing either.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description: Lists only. Where the release is still to be installed, nothing is asked.
    support: full
  diff_mode:
    description: Leaves nothing changed.
    support: none
options:
  folder:
    description: Where the logs go, as C([logging] remote_base_log_folder) names it.
    type: str
    required: true
  encrypt:
    description: Whether S3 encrypts what is written, as C([logging] encrypt_s3_logs) says.
    type: bool
    default: false
  access_key:
    description: Access key. Without one, the host's own instance profile is used.
    type: str
    default: ''
  secret_key:
    description: Secret access key.
    type: str
    default: ''
  region:
    description: Region of the bucket.
    type: str
    default: ''
  endpoint_url:
    description: Address of a storage that speaks as S3 does.
    type: str
    default: ''
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Prove that logs can be kept
  dataops.airflow.airflow_s3_logs:
    venv: /opt/airflow/releases/3.3.2-0be18504e633
    home: /var/lib/airflow
    config: /opt/airflow/deployments/8d1c55e0aa32/airflow.cfg
    folder: s3://airflow/airflow-logs
"""

RETURN = r"""
proven:
  description: Whether the host may write and read; false in check mode, where it has listed at most.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._runner import RUNNER_ARGUMENTS, Runner, RunnerError, stand_in
from ..module_utils._s3_logs_helper import SOURCE

FOLDER = "airflow_options.logging.remote_base_log_folder"
MESSAGES = {
    "no_client": "airflow_extras: the release has no client for S3 ({reason}): add the extra amazon",
    "no_bucket": FOLDER + ": there is no bucket {bucket}: create it, or name another one",
    "no_right": FOLDER + ": {who} may not do {step} on {folder}: grant it",
    "no_credentials": (
        "airflow_s3_access_key: it is not given, and the host has no instance profile either: give one of both"
    ),
    "keys": "airflow_s3_secret_key: S3 does not accept airflow_s3_access_key with it ({reason}): correct them",
    "region": "airflow_aws_region: the bucket {bucket} is in another region ({reason}): name that one",
    "refused": FOLDER + ": S3 refuses {step} on {folder}: {reason}: see what it means by that",
    "unreachable": (
        FOLDER + ": S3 does not answer this host ({reason}): let it out to S3, or see airflow_s3_endpoint_url"
    ),
}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            folder=dict(type="str", required=True),
            encrypt=dict(type="bool", default=False),
            access_key=dict(type="str", default="", no_log=False),
            secret_key=dict(type="str", default="", no_log=True),
            region=dict(type="str", default=""),
            endpoint_url=dict(type="str", default=""),
            timeout=dict(type="int", default=10),
        ),
        supports_check_mode=True,
    )
    p = module.params
    if not stand_in(module) and module.check_mode:
        module.exit_json(changed=False, proven=False)
    names = ("folder", "encrypt", "access_key", "secret_key", "region", "endpoint_url", "timeout")
    request = dict({name: p[name] for name in names}, check=module.check_mode)
    try:
        found = Runner(p["venv"], p["home"], p["config"], p["user"]).python(SOURCE, request, timeout=8 * p["timeout"])
    except RunnerError as error:
        module.fail_json(msg=str(error))
    if found["trouble"]:
        who = "the owner of airflow_s3_access_key" if p["access_key"] else "the instance profile of this host"
        module.fail_json(msg=MESSAGES[found["trouble"]].format(**dict(found, who=who, folder=p["folder"])))
    module.exit_json(changed=False, proven=not module.check_mode)


if __name__ == "__main__":
    main()
