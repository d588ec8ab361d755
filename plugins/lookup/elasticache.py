# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: elasticache
short_description: What Amazon ElastiCache says of a broker, asked for once in a run
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Finds a replication group or a cache cluster by its identifier, on the controller, and tells where it is. AWS is
    asked once in a run of C(ansible-playbook), however often a variable is evaluated.
  - What Celery cannot use is refused with what to do, such as cluster mode or Memcached. A broker that is not available
    yet is waited for.
extends_documentation_fragment:
  - dataops.airflow.aws
options:
  _terms:
    description: Identifiers of replication groups, or of single cache clusters.
    required: true
  timeout:
    description: Seconds to wait until a broker is available.
    type: int
    default: 900
  fail:
    description: Whether what is wrong fails the lookup. Otherwise the answer tells it as C(problem).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Tell the primary endpoint of a broker
  ansible.builtin.debug:
    msg: "{{ lookup('dataops.airflow.elasticache', 'airflow', region='ap-southeast-3').endpoint }}"
"""

RETURN = r"""
_raw:
  description:
    - A dictionary for each identifier. C(endpoint) is that of the primary; C(port), C(status), C(engine) and C(version)
      are as AWS tells them.
    - C(tls) says whether it takes encrypted connections only, C(password) whether it wants one.
    - C(problem) is what is wrong, else empty.
  type: list
  elements: dict
"""

from ..plugin_utils._aws import Describer, cache


class LookupModule(Describer):
    """See DOCUMENTATION."""

    service = "elasticache"

    def describe(self, client, name):
        return cache(client, name)
