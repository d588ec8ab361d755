#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_size
short_description: Compute how many tasks fit on the hosts of a cluster, and what follows for its options
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Computes on the controller what the variable C(airflow_size) should be, and writes it into a file of the inventory.
  - It is used by the role P(dataops.airflow.airflow_size#role), which gives it what it computes from.
attributes:
  check_mode:
    description: Tells whether it would write, and writes nothing.
    support: full
  diff_mode:
    description: Shows the file as it is and as it would be.
    support: full
options:
  release:
    description: The facts of the release, by the filter C(dataops.airflow.release).
    type: dict
    required: true
  cluster:
    description: What the inventory says of the cluster.
    type: dict
    required: true
  hosts:
    description: What is known of each host that was looked at, by its name. Figures of others stay as they are.
    type: dict
    required: true
  limit:
    description: How many connections the database allows, as M(dataops.airflow.airflow_db) returns it.
    type: dict
  path:
    description:
      - The file to write, on the controller. Nothing is written without one.
      - A file that is there and was not written by this module is left as it is, and the module fails.
    type: path
"""

EXAMPLES = r"""
- name: Compute what fits
  dataops.airflow.airflow_size:
    release: "{{ _airflow_release }}"
    cluster: "{{ cluster }}"
    hosts: "{{ hosts }}"
    path: inventories/mine/group_vars/all/airflow_size.yml
  run_once: true
"""

RETURN = r"""
size:
  description: What C(airflow_size) should be.
  returned: always
  type: dict
  sample: {parallelism: 32, max_active_tasks_per_dag: 16, default_pool: 32, workers: {w1: {concurrency: 16}}}
lines:
  description: How that comes about.
  returned: always
  type: list
  elements: str
  sample: ["parallelism: 32 = 16 + 16, all tasks of the workers: a scheduler that is left alone can fill them"]
troubles:
  description: What cannot work.
  returned: always
  type: list
  elements: str
  sample: []
text:
  description: The file's content, line by line.
  returned: always
  type: list
  elements: str
path:
  description: The file.
  returned: when it has one
  type: str
  sample: /home/me/inventories/mine/group_vars/all/airflow_size.yml
"""
