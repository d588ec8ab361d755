#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_pools
short_description: Manage the pools of Airflow
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Compares the declared pools with those in the metadata database, and creates, changes and deletes them.
  - It uses the database driver of the release and does not import Airflow. All pools are read by one process, and all
    changes are one transaction.
  - Pools that are not listed are left alone.
  - What an older release has no place for, such as O(pools[].include_deferred), is left out with a warning.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description:
      - Says what would change, without changing it.
      - Without a release, a database or its tables, as on a bare host, every pool would be created.
    support: full
  diff_mode:
    description: Shows each pool before and after.
    support: full
requirements:
  - The tables of Airflow in the metadata database, see M(dataops.airflow.airflow_db).
options:
  pools:
    description: The pools.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the pool.
        type: str
        required: true
      slots:
        description:
          - How many slots it has, V(-1) for any number.
          - Needed to create the pool. Left as it is if omitted.
        type: int
      description:
        description: What it is for. Left as it is if omitted.
        type: str
      include_deferred:
        description: Whether deferred tasks take slots. Left as it is if omitted; of a new pool it is V(false) then.
        type: bool
      state:
        description:
          - Whether the pool exists.
          - The pool C(default_pool) cannot be removed.
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
- name: Declare the pools
  dataops.airflow.airflow_pools:
    venv: /opt/airflow/releases/0c1d2e3f
    home: /var/lib/airflow
    config: /opt/airflow/deployments/4f2a9c31/airflow.cfg
    pools:
      - name: warehouse
        slots: 8
        description: Queries at the same time
      - name: default_pool
        slots: 256
      - name: former
        state: absent
  run_once: true
"""

RETURN = r"""
pools:
  description: What was done to each pool, or would be, by name.
  returned: success
  type: dict
  contains:
    action:
      description: V(created), V(updated), V(deleted) or V(unchanged).
      type: str
      sample: updated
    fields:
      description: What changed of a pool that was updated.
      type: list
      elements: str
      sample: [slots]
  sample:
    warehouse:
      action: updated
      fields: [slots]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._objects import STATE, Rows, text
from ..module_utils._runner import RUNNER_ARGUMENTS


class Pools(Rows):
    """The declared pools, and what the database holds of them."""

    option = "pools"
    key = "name"
    table = "slot_pool"
    column = "pool"
    longest = 256
    fields = dict(slots=int, description=text, include_deferred=bool)
    needed = ["slots"]

    def check(self, item):
        if item["state"] == "absent" and item["name"] == "default_pool":
            self.refuse(item, "it cannot be removed, as tasks that name no pool run in it")
        if item["slots"] is not None and item["slots"] < -1:
            self.refuse(item, f"slots is {item['slots']}; it has to be 0 or more, or -1 for any number")


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            pools=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    name=dict(type="str", required=True),
                    slots=dict(type="int"),
                    description=dict(type="str"),
                    include_deferred=dict(type="bool"),
                    state=STATE,
                ),
            ),
            timeout=dict(type="int", default=300),
        ),
        supports_check_mode=True,
    )
    Pools(module).work()


if __name__ == "__main__":
    main()
