#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_canary
short_description: Prove that Airflow workers run tasks and that their logs can be read
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Runs a small task on each worker through Airflow's own scheduler and broker, and reads its log back through the API
    server or web server.
  - Each worker has a DAG of its own, C(dataops_canary__<worker>), whose task goes through the queue
    C(dataops_canary.<worker>), which only that worker reads. So a pass says that this very worker works.
  - A run that passed carries the deployment of its worker in its configuration. A worker is asked again only when its
    deployment is another one.
  - Of each worker the newest run that passed is kept. Older runs are deleted.
requirements:
  - The DAG file C(dataops_canary.py) at the same path on every node, in a DAG bundle of its own, named
    C(dataops-canary). Before Airflow 3, the plugin beside it on E(PYTHONPATH), which adds it to the files that the
    scheduler reads.
  - Each worker runs with its queue C(dataops_canary.<worker>) in C(--queues).
  - An API server of Airflow 3 or a web server of Airflow 2 with the FAB auth manager, or a web server of Airflow 1.10
    with C([webserver] rbac). A user of it with the role Op or Admin, on Airflow 1.10 and 2 with a password in its
    database.
options:
  url:
    description:
      - Where an API server or web server is reached from the host that runs this module, with the path of
        C([api] base_url) or C([webserver] base_url).
    type: str
    required: true
  api:
    description:
      - What is spoken there.
      - V(v2) is the REST API of Airflow 3.
      - V(v1) is that of Airflow 2, with C(airflow.api.auth.backend.session) among C([api] auth_backends), as by
        default.
      - V(www_rbac) is what the user interface of Airflow 1.10 is made of. C([api] auth_backend) may deny all.
    type: str
    choices: [v2, v1, www_rbac]
    default: v2
  username:
    description: The user that logs in to the API.
    type: str
    required: true
  password:
    description: The password of O(username).
    type: str
    required: true
  workers:
    description:
      - The workers to look at.
      - Others are left alone, see O(purge), so that a run limited to some hosts lists only those.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the worker, as in its queue C(dataops_canary.<name>).
        type: str
        required: true
      deployment:
        description: What the worker runs from. A worker that passed with another deployment is asked again.
        type: str
        required: true
  mode:
    description:
      - V(missing) asks the workers that have not yet passed with their deployment.
      - V(all) asks each of them.
    type: str
    choices: [missing, all]
    default: missing
  timeout:
    description: How long the whole may take, in seconds. An API that cannot be reached is tried again until then.
    type: int
    default: 180
  purge:
    description:
      - Whether the DAGs and runs of workers that are not in O(workers) are removed.
      - Only for calls that list all workers there are.
    type: bool
    default: false
  unit:
    description: The systemd unit of a worker, which messages name.
    type: str
    default: airflow-worker
  ca_path:
    description: File of the certificate authorities to trust, for an O(url) with HTTPS. The system's by default.
    type: path
  validate_certs:
    description: Whether the server's certificate is verified.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Says which workers would be asked. All of them, if the API cannot be reached or does not know the user.
  diff_mode:
    support: full
    description: Shows the deployment each worker passed with before, and passes with after.
"""

EXAMPLES = r"""
- name: Prove the workers of Airflow 1.10
  dataops.airflow.airflow_canary:
    url: http://127.0.0.1:8080
    api: www_rbac
    username: admin
    password: "{{ vault_airflow_admin_password }}"
    workers: "{{ airflow_workers }}"

- name: Prove the workers that have a new deployment
  dataops.airflow.airflow_canary:
    url: http://127.0.0.1:8080
    username: admin
    password: "{{ vault_airflow_admin_password }}"
    workers:
      - name: worker1
        deployment: 4f2a9c31
      - name: worker2
        deployment: 4f2a9c31

- name: Prove every worker, and forget those that are gone
  dataops.airflow.airflow_canary:
    url: http://127.0.0.1:8080
    username: admin
    password: "{{ vault_airflow_admin_password }}"
    workers: "{{ airflow_workers }}"
    mode: all
    purge: true
"""

RETURN = r"""
workers:
  description: What is known of each worker, by its name.
  returned: always
  type: dict
  contains:
    state:
      description:
        - V(passed) in this call, V(current) if it passed before with this deployment, V(pending) if it would be asked
          (check mode), V(failed).
      type: str
      sample: passed
    run_id:
      description: Id of the run. Null if there is none.
      type: str
      sample: canary__20261122T025532Z__5f1c2a9b
    hostname:
      description: The host that the task ran on, in the words of Airflow. Null if it did not run.
      type: str
      sample: worker1
    duration:
      description: How long the run took from its start to its end, in seconds. Null if it did not end.
      type: float
      sample: 3.2
    log_read:
      description: Whether the log of the run was read through the API.
      type: bool
      sample: true
    deployment:
      description: The deployment of the worker.
      type: str
      sample: 4f2a9c31
    reason:
      description: Why the worker did not pass. Null if it did.
      type: str
      sample: null
  sample:
    worker1:
      state: passed
      run_id: canary__20261122T025532Z__5f1c2a9b
      hostname: worker1
      duration: 3.2
      log_read: true
      deployment: 4f2a9c31
      reason: null
purged:
  description: The workers whose DAGs were removed, or would be.
  returned: always
  type: list
  elements: str
  sample: [worker9]
seconds:
  description: How long the call took, in seconds.
  returned: always
  type: float
  sample: 9.1
"""

import re
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._canary import Canary
from ..module_utils._canary_api import DIALECTS, ApiError, ApiUnavailable

# What is valid in the id of a DAG and in the name of a queue, and leaves room for the rest of both.
NAME = re.compile(r"^[A-Za-z0-9._-]{1,200}$")
# In check mode nothing comes up while we wait.
CHECK_TIMEOUT = 10


def check_names(module):
    seen = set()
    for worker in module.params["workers"]:
        name = worker["name"]
        if not NAME.match(name):
            module.fail_json(msg=f"workers: {name!r} is no name for a worker: letters, digits, . _ - (at most 200)")
        if name in seen:
            module.fail_json(msg=f"workers: {name} is listed twice")
        seen.add(name)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            url=dict(type="str", required=True),
            api=dict(type="str", choices=list(DIALECTS), default="v2"),
            username=dict(type="str", required=True),
            password=dict(type="str", required=True, no_log=True),
            workers=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(name=dict(type="str", required=True), deployment=dict(type="str", required=True)),
            ),
            mode=dict(type="str", choices=["missing", "all"], default="missing"),
            timeout=dict(type="int", default=180),
            purge=dict(type="bool", default=False),
            unit=dict(type="str", default="airflow-worker"),
            ca_path=dict(type="path"),
            validate_certs=dict(type="bool", default=True),
        ),
        supports_check_mode=True,
    )
    params = module.params
    check_names(module)
    started = time.monotonic()
    timeout = min(params["timeout"], CHECK_TIMEOUT) if module.check_mode else params["timeout"]
    try:
        api = DIALECTS[params["api"]](
            params["url"],
            params["username"],
            params["password"],
            started + timeout,
            patient=not module.check_mode,
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"],
        )
    except (OSError, ValueError) as error:
        module.fail_json(msg="ca_path: cannot read {}: {}".format(params["ca_path"], error))
    canary = Canary(api, params["workers"], unit=params["unit"])

    def report(changed):
        before = {worker.name: worker.passed_deployment for worker in canary.workers}
        after = {
            worker.name: before[worker.name] if worker.state == "failed" else worker.deployment
            for worker in canary.workers
        }
        before.update((name, "declared") for name in canary.purged)
        return dict(
            changed=changed,
            workers={worker.name: worker.result() for worker in canary.workers},
            purged=canary.purged,
            seconds=round(time.monotonic() - started, 2),
            diff=dict(before=before, after=after),
        )

    todo = []
    try:
        if params["workers"]:
            todo = canary.read(params["mode"] == "all")
        gone = canary.unlisted() if params["purge"] else []
        if not module.check_mode:
            if todo:
                canary.run(todo)
            if gone:
                canary.purge(gone)
        canary.purged = gone
    except ApiError as error:
        # A cluster that is still to be made has no API, or no such user yet: everybody would be asked.
        if module.check_mode and (isinstance(error, ApiUnavailable) or error.status in (401, 404)):
            module.exit_json(**report(bool(params["workers"])))
        made = any(worker.run_id for worker in todo)
        module.fail_json(msg=str(error), **report(made))
    failed = [worker for worker in canary.workers if worker.state == "failed"]
    if failed:
        reasons = " ".join(f"{worker.name}: {worker.reason.rstrip('.')}." for worker in failed)
        module.fail_json(
            msg=f"The canary did not pass on {len(failed)} of {len(canary.workers)} workers. {reasons}",
            **report(any(worker.run_id for worker in todo) or bool(gone)),
        )
    module.exit_json(**report(bool(todo) or bool(gone)))


if __name__ == "__main__":
    main()
