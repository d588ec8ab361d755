#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_variables
short_description: Manage the variables of Airflow
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Compares the declared variables with those in the metadata database, and creates, changes and deletes them.
  - It uses the database driver and the Fernet key of the release and does not import Airflow. All variables are read by
    one process, and all changes are one transaction.
  - Variables that are not listed are left alone.
  - A value may be a secret, so none is ever shown.
  - What an older release has no place for, such as a description, is left out with a warning.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description:
      - Says what would change, without changing it.
      - Without a release, a database or its tables, as on a bare host, every variable would be created.
    support: full
  diff_mode:
    description: Shows each variable before and after. A value shows only as C(set) or C(changed).
    support: full
requirements:
  - The tables of Airflow in the metadata database, see M(dataops.airflow.airflow_db).
options:
  variables:
    description: The variables.
    type: list
    elements: dict
    required: true
    suboptions:
      key:
        description: Name of the variable.
        type: str
        required: true
      value:
        description:
          - Value of the variable. What is not a text, such as a list or a dictionary, is stored as JSON. Then neither
            the order of its keys nor white space makes a difference.
          - A value in the database that the Fernet key does not fit is written again.
          - Needed to create the variable. Left as it is if omitted.
        type: raw
      description:
        description: What it is for. Left as it is if omitted.
        type: str
      state:
        description: Whether the variable exists.
        type: str
        choices: [present, absent]
        default: present
  timeout:
    description: How long each program of the release may run, in seconds.
    type: int
    default: 300
seealso:
  - module: dataops.airflow.airflow_db
"""

EXAMPLES = r"""
- name: Declare the variables
  dataops.airflow.airflow_variables:
    venv: /opt/airflow/releases/0c1d2e3f
    home: /var/lib/airflow
    config: /opt/airflow/deployments/4f2a9c31/airflow.cfg
    variables:
      - key: environment
        value: production
      - key: api_token
        value: "{{ vault_api_token }}"
        description: Of the weather service
      - key: regions
        value: [eu-central-1, eu-west-1]
      - key: former
        state: absent
  run_once: true
"""

RETURN = r"""
variables:
  description: What was done to each variable, or would be, by key.
  returned: success
  type: dict
  contains:
    action:
      description: V(created), V(updated), V(deleted) or V(unchanged).
      type: str
      sample: updated
    fields:
      description: What changed of a variable that was updated. Never a value itself.
      type: list
      elements: str
      sample: [value]
  sample:
    api_token:
      action: updated
      fields: [value]
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._objects import STATE, Rows, text
from ..module_utils._runner import RUNNER_ARGUMENTS


class Variables(Rows):
    """The declared variables, and what the database holds of them."""

    option = "variables"
    key = "key"
    table = "variable"
    column = "key"
    fields = dict(description=text)
    secrets = dict(value=("val", "is_encrypted"))
    needed = ["value"]
    # An empty text is a value like any other.
    empty = ""

    def prepare(self, item):
        value = item["value"]
        if isinstance(value, str):
            item["value"] = self.secret(value)
        elif value is not None:
            # As Airflow itself writes it.
            item["value"] = self.secret(json.dumps(value, indent=2), as_json=True)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            variables=dict(
                type="list",
                elements="dict",
                required=True,
                no_log=True,
                options=dict(
                    key=dict(type="str", required=True, no_log=False),
                    value=dict(type="raw", no_log=True),
                    description=dict(type="str"),
                    state=STATE,
                ),
            ),
            timeout=dict(type="int", default=300),
        ),
        supports_check_mode=True,
    )
    Variables(module).work()


if __name__ == "__main__":
    main()
