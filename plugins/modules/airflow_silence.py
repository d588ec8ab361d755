#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_silence
short_description: Keep Alertmanager quiet about what a run causes, for as long as the run lasts
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Makes a silence in Alertmanager that lasts for a moment only. A process on the controller prolongs it for as long as
    Ansible runs, and ends it when Ansible does, however it ends.
  - When that process is killed as well, or the controller goes down, the silence ends by itself after O(lease).
  - An Alertmanager that does not answer stops no deployment, so a message tells of it, and nothing fails.
  - One silence is enough for a run of Ansible, so all further calls in a run do nothing.
attributes:
  action:
    description: Has an action plugin, which runs the module again and again.
    support: full
  check_mode:
    description: Makes no silence in check mode, in which nothing is caused.
    support: full
  diff_mode:
    description: Nothing is left of a silence when the run has ended, so none is told as a change.
    support: none
options:
  url:
    description: Address of Alertmanager, as the host that the task runs on reaches it.
    type: str
    required: true
  matchers:
    description: The labels of the alerts to be quiet about, all of which have to fit.
    type: dict
    default: {deploy: silenced}
  lease:
    description: Seconds for which the silence lasts when nobody prolongs it.
    type: int
    default: 60
  comment:
    description: What to tell those who wonder.
    type: str
    default: Ansible deploys Airflow
  id:
    description: Silence to prolong, or with O(state=absent) to end.
    type: str
  state:
    description: Whether there is to be a silence.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Keep quiet about what this run causes
  dataops.airflow.airflow_silence:
    url: http://127.0.0.1:9093
  delegate_to: monitor1
  run_once: true
"""

RETURN = r"""
id:
  description: The silence, empty when Alertmanager did not answer.
  returned: when not in check mode
  type: str
  sample: 2c6f0a9c-7a5b-4f3e-9d2a-3c1f0f1f3a77
"""

import datetime
import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

TIMEOUT = 10


def call(method, url, content=None):
    """What Alertmanager answers."""
    data = None if content is None else json.dumps(content).encode()
    answer = open_url(url, data=data, method=method, headers={"Content-Type": "application/json"}, timeout=TIMEOUT)
    return answer.read()


def silence(p, now):
    """The silence as Alertmanager wants it."""
    matchers = [
        {"name": name, "value": str(value), "isRegex": False, "isEqual": True}
        for name, value in sorted(p["matchers"].items())
    ]
    content = {
        "matchers": matchers,
        "startsAt": now.isoformat(),
        "endsAt": (now + datetime.timedelta(seconds=p["lease"])).isoformat(),
        "createdBy": "dataops.airflow",
        "comment": p["comment"],
    }
    if p["id"]:
        content["id"] = p["id"]
    return content


def main():
    module = AnsibleModule(
        argument_spec=dict(
            url=dict(type="str", required=True),
            matchers=dict(type="dict", default={"deploy": "silenced"}),
            lease=dict(type="int", default=60),
            comment=dict(type="str", default="Ansible deploys Airflow"),
            id=dict(type="str"),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
        required_if=[("state", "absent", ("id",))],
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False)
    base = p["url"].rstrip("/") + "/api/v2/"
    try:
        if p["state"] == "absent":
            call("DELETE", base + "silence/" + p["id"])
            module.exit_json(changed=False, id=p["id"])
        content = silence(p, datetime.datetime.now(datetime.timezone.utc))
        if p["id"]:
            # With another beginning it would be another silence, which Alertmanager makes in the place of this one.
            content["startsAt"] = json.loads(call("GET", base + "silence/" + p["id"]))["startsAt"]
        module.exit_json(changed=False, id=json.loads(call("POST", base + "silences", content))["silenceID"])
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "reason", None) or error
        module.exit_json(changed=False, id="", msg="no silence: Alertmanager at %s: %s" % (p["url"], reason))


if __name__ == "__main__":
    main()
