#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_validate
short_description: Find what is wrong with the declared cluster before any host is asked
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Looks at variables only, on the controller. It never fails because of what it finds, but returns it, so that the
    problems of all hosts can be reported at once.
  - It is used by the role P(dataops.airflow.airflow_preflight#role), which gives it what it looks at.
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
options:
  declared:
    description: What the host declares.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Look at what the inventory declares
  dataops.airflow.airflow_validate:
    declared: "{{ declared }}"
"""

RETURN = r"""
problems:
  description: What is wrong. Each names the variable and the fix.
  returned: always
  type: list
  elements: str
  sample: ["airflow_jwt_secret: it is missing: generate one"]
deployment:
  description: The deployment that the host declares, without what is in it. Null where what it declares makes none.
  returned: always
  type: dict
  contains:
    digest:
      description: Its short name.
      type: str
      sample: 0f3a9be41c22
    path:
      description: Its directory.
      type: str
      sample: /opt/airflow/deployments/0f3a9be41c22
    config_path:
      description: Its C(airflow.cfg).
      type: str
      sample: /opt/airflow/deployments/0f3a9be41c22/airflow.cfg
    release:
      description: The virtual environment that it runs from.
      type: str
      sample: /opt/airflow/releases/3.3.2-0be18504e633
    secret_environment:
      description: Whether processes get secrets by their environment, as the release has no command for them.
      type: bool
      sample: false
version:
  description: The Airflow version that the host declares.
  returned: always
  type: str
  sample: 3.3.2
single:
  description: The components of the host that may run on one host only.
  returned: always
  type: list
  elements: str
  sample: [scheduler]
"""
