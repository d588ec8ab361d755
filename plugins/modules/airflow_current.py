#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_current
short_description: Name the deployment in use, and remove those that nobody needs
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Points the link C(current) at a deployment. The operator's command C(airflow) follows it; services name their
    deployment themselves.
  - Removes old deployments, and the releases that no deployment is left of. What a live process was started from stays.
  - Waits for a build, or for a deployment that is being written, on the same host at the same time.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change.
    support: full
  diff_mode:
    description: Shows the link and what is removed.
    support: full
options:
  root:
    description: The directory of the deployments.
    type: path
    default: /opt/airflow
  deployment:
    description: The directory of the deployment in use.
    type: path
    required: true
  keep:
    description: Deployments to keep for going back to, besides the one in use. The latest are kept.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Name the deployment that the services run
  dataops.airflow.airflow_current:
    deployment: /opt/airflow/deployments/0f3a9be41c22
"""

RETURN = r"""
removed:
  description: Directories that were, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
  sample: [/opt/airflow/deployments/41c220f3a9be]
"""

import contextlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lock import alone


def listed(directory):
    """Paths in a directory, latest first. What a run that was killed left unfinished is not among them."""
    try:
        paths = [os.path.join(directory, name) for name in os.listdir(directory) if not name.startswith(".")]
    except OSError:
        return []
    paths = [path for path in paths if os.path.isdir(path) and not path.endswith(".new")]
    return sorted(paths, key=lambda path: os.stat(path).st_mtime, reverse=True)


def in_use(paths):
    """Those paths that stand in the environment of a live process."""
    wanted = {os.fsencode(path): path for path in paths}
    used = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as handle:
                environment = handle.read()
        except OSError:
            continue
        used.update(path for needle, path in wanted.items() if needle in environment)
    return used


def release_of(deployment):
    """The release that a deployment links to."""
    try:
        return os.readlink(os.path.join(deployment, "release"))
    except OSError:
        return None


def superfluous(root, current, keep):
    """Deployments and releases that nobody needs."""
    deployments = [path for path in listed(os.path.join(root, "deployments")) if path != current]
    releases = listed(os.path.join(root, "releases"))
    live = in_use(deployments + releases)
    old = [path for path in deployments[keep:] if path not in live]
    needed = {release_of(path) for path in deployments + [current] if path not in old} | live
    return old + [path for path in releases if path not in needed]


@contextlib.contextmanager
def held(root):
    """Keeps other runs on this host from building releases and writing deployments."""
    with contextlib.ExitStack() as locks:
        for name in ("releases", "deployments"):
            if os.path.isdir(os.path.join(root, name)):
                locks.enter_context(alone(os.path.join(root, name, ".lock")))
        yield


def point(link, target):
    """Makes a link lead to `target` in one step."""
    new = link + ".new"
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(target, new)
    os.replace(new, link)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            root=dict(type="path", default="/opt/airflow"),
            deployment=dict(type="path", required=True),
            keep=dict(type="int", default=3),
        ),
        supports_check_mode=True,
    )
    p = module.params
    link = os.path.join(p["root"], "current")
    try:
        before = os.readlink(link)
    except OSError:
        before = ""
    exists = os.path.isdir(p["deployment"])
    if not exists and not module.check_mode:
        module.fail_json(msg="there is no deployment %s on this host" % p["deployment"])
    old = superfluous(p["root"], p["deployment"], p["keep"]) if exists else []
    changed = before != p["deployment"] or bool(old)
    if changed and not module.check_mode:
        try:
            with held(p["root"]):
                # What another run made or removed meanwhile is left as it is.
                old = superfluous(p["root"], p["deployment"], p["keep"])
                if before != p["deployment"]:
                    point(link, p["deployment"])
                for path in old:
                    shutil.rmtree(path)
        except OSError as error:
            module.fail_json(msg="cannot put %s to use: %s" % (p["deployment"], error), removed=[])
    diff = dict(
        before="".join("%s\n" % line for line in [link + " -> " + before] + old),
        after="%s -> %s\n" % (link, p["deployment"]),
    )
    module.exit_json(changed=changed, removed=old, diff=diff)


if __name__ == "__main__":
    main()
