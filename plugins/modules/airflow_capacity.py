#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_capacity
short_description: Tell how many CPUs and how much memory a host has
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Tells what M(dataops.airflow.airflow_size) computes with, as M(dataops.airflow.airflow_preflight) sees it too.
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
options: {}
"""

EXAMPLES = r"""
- name: Look at the host
  dataops.airflow.airflow_capacity:
  register: capacity
"""

RETURN = r"""
cpus:
  description: CPUs that processes may run on.
  returned: success
  type: int
  sample: 4
memory:
  description: Memory of the host, in MiB.
  returned: success
  type: int
  sample: 15884
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _capacity


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, cpus=_capacity.cpus(), memory=_capacity.memory())
    except OSError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
