# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rds
short_description: What Amazon RDS says of a database server, asked for once in a run
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Finds a DB instance or a DB cluster by its identifier, on the controller, and tells where it is and what it is. AWS
    is asked once in a run of C(ansible-playbook), however often a variable is evaluated.
  - What Airflow cannot use is refused with what to do, such as an engine of another kind, a replica, or one instance of
    a cluster. A server that is not available yet is waited for.
extends_documentation_fragment:
  - dataops.airflow.aws
options:
  _terms:
    description: Identifiers of DB instances, or of DB clusters.
    required: true
  cluster:
    description: Whether the identifiers are those of clusters.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until a server is available.
    type: int
    default: 900
  fail:
    description: Whether what is wrong fails the lookup. Otherwise the answer tells it as C(problem).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Tell the endpoint of a database
  ansible.builtin.debug:
    msg: "{{ lookup('dataops.airflow.rds', 'airflow', region='ap-southeast-3').endpoint }}"
"""

RETURN = r"""
_raw:
  description:
    - A dictionary for each identifier. C(endpoint), C(port), C(status), C(arn) and C(engine) are as AWS tells them,
      C(cluster) says whether it is a cluster.
    - C(product) is V(postgresql), V(mysql) or V(mariadb), C(version) that of the product, C(type) what goes into
      C(airflow_database_type).
    - C(parameter_groups) names the groups, and C(parameters) has of what they set that which matters to Airflow.
    - C(problem) is what is wrong, else empty.
  type: list
  elements: dict
"""

from ..plugin_utils._aws import Describer, cluster, instance


class LookupModule(Describer):
    """See DOCUMENTATION."""

    service = "rds"

    def describe(self, client, name):
        return (cluster if self.get_option("cluster") else instance)(client, name)
