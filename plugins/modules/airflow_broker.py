#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_broker
short_description: Prove that Airflow's broker lets the cluster in
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Logs in to the broker that O(config) names, by C([celery] broker_url), with the release's own client, and fails with
    the variable and the fix where that does not work.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description: Reads only. Where the release is still to be installed, nothing is asked.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
notes:
  - The module runs on a host that has the release, and reads the password there. It is never part of a result.
"""

EXAMPLES = r"""
- name: Log in to the broker
  dataops.airflow.airflow_broker:
    venv: /opt/airflow/releases/3.3.2-0be18504e633
    home: /var/lib/airflow
    config: /opt/airflow/deployments/8d1c55e0aa32/airflow.cfg
  run_once: true
"""

RETURN = r"""
broker:
  description: The broker. Null where the release is still to be installed.
  returned: success
  type: dict
  contains:
    host:
      description: Its name or address.
      type: str
      sample: broker1
    port:
      description: Its port.
      type: int
      sample: 6379
    database:
      description: The number of the database.
      type: str
      sample: "0"
    encrypted:
      description: Whether the connection is a TLS one.
      type: bool
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._health import ask_broker
from ..module_utils._runner import RUNNER_ARGUMENTS, Runner, RunnerError, stand_in

MESSAGES = {
    "password": "airflow_broker_password: {where} refuses the password: write the one that it has",
    "password_needed": "airflow_broker_password: {where} wants a password, and none is given: write the one it has",
    "no_password": "airflow_broker_password: {where} has no password, and one is given: set it there (requirepass)",
    "database": "airflow_broker_database: {where} has no database {database}: use 0, or raise databases there",
    "rights": "airflow_broker_url: {where} lets the user in, and lets it do too little: grant it all keys and commands",
    "clients": "airflow_broker_host: {where} takes no more clients: raise maxclients there",
    "replica": "airflow_broker_host: {where} is a replica, which takes no tasks: name the primary",
    "unreachable": "airflow_broker_host: {where} does not answer the release's client ({reason}): {hint}",
}
HINTS = {
    True: "look whether it runs, and whether its certificate is good for this name and for airflow_broker_ca_file",
    False: "look whether it runs; if it speaks TLS alone, set airflow_broker_ca_file",
}


def main():
    module = AnsibleModule(argument_spec=dict(RUNNER_ARGUMENTS), supports_check_mode=True)
    p = module.params
    if not stand_in(module) and module.check_mode:
        module.exit_json(changed=False, broker=None)
    try:
        found = ask_broker(Runner(p["venv"], p["home"], p["config"], p["user"]))
    except RunnerError as error:
        module.fail_json(msg=str(error))
    trouble, reason = found.pop("trouble"), found.pop("reason", None)
    if trouble:
        where = "%s port %s" % (found["host"], found["port"])
        hint = HINTS[found["encrypted"]]
        module.fail_json(
            msg=MESSAGES[trouble].format(where=where, reason=reason, hint=hint, database=found["database"])
        )
    module.exit_json(changed=False, broker=found)


if __name__ == "__main__":
    main()
