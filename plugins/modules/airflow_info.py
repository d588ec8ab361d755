#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_info
short_description: Tell what runs on a host, from which deployment, and whether it is healthy
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Reads the units of a host from systemd, what they run from the environment of their processes, and the health of
    each component from what the component itself says.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
options:
  units:
    description: Units to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the unit, without C(.service).
        type: str
        required: true
      health:
        description: How to prove that the component lives, as in M(dataops.airflow.airflow_service).
        type: dict
        suboptions:
          kind:
            description: See M(dataops.airflow.airflow_service).
            type: str
            choices: [api, job, worker, port]
            required: true
          port:
            description: Port of V(api), on the loopback address, and of V(port).
            type: int
          address:
            description: Address of the host on which the port is, of V(port).
            type: str
            default: 127.0.0.1
          path:
            description: Path of the health page, of V(api).
            type: str
          job_type:
            description: Type of the job, of V(job).
            type: str
          worker:
            description: Name of the worker, of V(worker).
            type: str
  root:
    description: Directory of the deployments.
    type: path
    default: /opt/airflow
  timeout:
    description:
      - Seconds to wait for all components to become healthy, as after a restart.
      - By default they are looked at once.
    type: int
    default: 0
  queues:
    description: Celery queues whose waiting tasks are counted.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look at the scheduler
  dataops.airflow.airflow_info:
    venv: /opt/airflow/current/release
    home: /var/lib/airflow
    config: /opt/airflow/current/airflow.cfg
    units:
      - name: airflow-scheduler
        health:
          kind: job
          job_type: SchedulerJob
"""

RETURN = r"""
units:
  description: What is known of each unit, by its name.
  returned: always
  type: dict
  contains:
    state:
      description: The unit's state as systemd names it, or V(missing).
      type: str
      sample: active
    pid:
      description: Its main process. 0 when there is none.
      type: int
      sample: 4711
    restarts:
      description: How often systemd restarted it by itself, since it was last started by somebody.
      type: int
      sample: 0
    deployment:
      description: Digest of the deployment its process was started from. Null when there is no process.
      type: str
      sample: 0f3a9be41c22
    version:
      description: Airflow version of that deployment. Null when it is not known.
      type: str
      sample: 3.3.2
    trouble:
      description: Why the component is not healthy. Empty when it is.
      type: str
      sample: ""
  sample:
    airflow-scheduler:
      state: active
      pid: 4711
      restarts: 0
      deployment: 0f3a9be41c22
      version: 3.3.2
      trouble: ""
queues:
  description: Messages that wait in each queue of O(queues). Null where the broker could not be asked.
  returned: always
  type: dict
  sample: {default: 0}
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._health import HEALTH, queue_depths, troubles
from ..module_utils._runner import RUNNER_ARGUMENTS, Runner
from ..module_utils._units import SystemdError, show


def version_of(root, deployment):
    """The Airflow version of a deployment on this host."""
    try:
        with open(os.path.join(root, "deployments", deployment, "manifest.json")) as handle:
            return json.load(handle)["version"]
    except (OSError, TypeError, ValueError, KeyError):
        return None


def look(declared, runner, root):
    """What is known of the units, by name."""
    states = show([unit["name"] for unit in declared])
    asked, why = {}, {}
    for unit in declared:
        state = states[unit["name"]]
        if not state["exists"]:
            why[unit["name"]] = "the unit is not on this host"
        elif state["active"] != "active" or not state["pid"]:
            why[unit["name"]] = "the unit is %s (%s)" % (state["active"], state["sub"])
        elif unit["health"]:
            asked[unit["name"]] = (unit["health"], state)
    why.update(troubles(asked, runner))
    return {
        name: dict(
            state=state["active"] if state["exists"] else "missing",
            pid=state["pid"],
            restarts=state["restarts"],
            deployment=state["deployment"],
            version=version_of(root, state["deployment"]),
            trouble=why.get(name, ""),
        )
        for name, state in states.items()
    }


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            units=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    name=dict(type="str", required=True),
                    health=HEALTH,
                ),
            ),
            root=dict(type="path", default="/opt/airflow"),
            timeout=dict(type="int", default=0),
            queues=dict(type="list", elements="str", default=[]),
        ),
        supports_check_mode=True,
    )
    p = module.params
    runner = Runner(p["venv"], p["home"], p["config"], p["user"])
    deadline = time.monotonic() + p["timeout"]
    try:
        while True:
            units = look(p["units"], runner, p["root"])
            if time.monotonic() >= deadline or not any(unit["trouble"] for unit in units.values()):
                break
            time.sleep(2)
    except SystemdError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, units=units, queues=queue_depths(p["queues"], runner) if p["queues"] else {})


if __name__ == "__main__":
    main()
