# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: once
short_description: The answer of another lookup, asked for once in a run
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - A variable is evaluated anew each time it is used, so that a lookup in it asks a service hundreds of times in a run,
    for each host and task. This one asks once, and then answers from memory.
  - The memory is a directory of this one run of C(ansible-playbook), below C(DEFAULT_LOCAL_TMP). It can be read by its
    user alone, and is removed when the run ends.
options:
  _terms:
    description: The full name of the other lookup, then the terms that it is asked for.
    required: true
notes:
  - All other options are those of the other lookup.
  - Only for what is the same for all hosts and throughout a run, and can be written as JSON.
"""

EXAMPLES = r"""
- name: Group variables with a password from AWS Secrets Manager
  ansible.builtin.set_fact:
    airflow_database_password: >-
      {{ lookup('dataops.airflow.once', 'amazon.aws.secretsmanager_secret', 'airflow/database',
      region='ap-southeast-3') }}
"""

RETURN = r"""
_raw:
  description: What the other lookup returned.
  type: list
  elements: raw
"""

from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

from ..plugin_utils._once import once


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms, variables=None, **kwargs):
        if not terms:
            raise AnsibleLookupError("name the lookup to ask, then what to ask it for")
        name, asked = str(terms[0]), list(terms[1:])

        def ask():
            other = lookup_loader.get(name, loader=self._loader, templar=self._templar)
            if other is None:
                raise AnsibleLookupError("there is no lookup %s" % name)
            return other.run(asked, variables=variables, **kwargs)

        return once([name, asked, kwargs], ask)
