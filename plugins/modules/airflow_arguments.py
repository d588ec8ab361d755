#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_arguments
short_description: Find variables of the roles that have a value of another type
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Looks at all variables of a host that any role of the collection describes in its argument specification, on the
    controller. A role by itself does so when it begins, when other hosts may have been changed already.
  - What Ansible would convert, the templates of the roles would not. So a list or a dict has to be one, not a text that
    stands for it, and a text must not be a number. A variable with a default cannot be null.
  - It never fails because of what it finds, but returns it, so that the problems of all hosts can be reported at once.
  - A variable that cannot be computed is left to what needs it.
  - It is used by the role P(dataops.airflow.airflow_preflight#role).
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
- name: Look at the types of all variables
  dataops.airflow.airflow_arguments:
  register: found
"""

RETURN = r"""
problems:
  description: What is wrong. Each names the variable and the fix. Values of secrets are not in it.
  returned: always
  type: list
  elements: str
  sample:
    - >-
      airflow_install_timeout: it is of type str and we were unable to convert to int: "'soon'" cannot be converted to
      an int: write a value of type int, as docs/VARIABLES.md has it
"""
