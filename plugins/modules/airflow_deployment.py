#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_deployment
short_description: Write the configuration of an Airflow deployment beside the running one
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - A deployment is a directory named by the digest of what it holds. It contains C(airflow.cfg), which has no secret in
    it, an C(environment) file for systemd, the secrets as files that only root and the Airflow group can read, and
    C(release), a link to the virtual environment.
  - A new deployment is written aside and then renamed, so it is whole or not there. A deployment that was tampered with
    is put right.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without writing.
    support: full
  diff_mode:
    description:
      - Shows C(airflow.cfg) against that of the deployment in use.
      - A secret that changed shows as a changed keyed hash.
    support: full
options:
  deployment:
    description: What the deployment is. The variable C(airflow_deployment) of the roles has all of it.
    type: dict
    required: true
    suboptions:
      path:
        description: The directory of the deployment. Its last part is the digest.
        type: path
        required: true
      release:
        description: The virtual environment of the deployment.
        type: path
        required: true
      version:
        description: Airflow version of the deployment.
        type: str
        required: true
      config:
        description: Text of C(airflow.cfg).
        type: str
        required: true
      environment:
        description:
          - Variables every process of the deployment gets. They are shown in diffs, so they are no place for secrets.
        type: dict
        default: {}
      files:
        description: Further files beside C(airflow.cfg), their texts by their names. They are shown in diffs, too.
        type: dict
        default: {}
      secrets:
        description: Name and value of each secret.
        type: dict
        default: {}
      secret_environment:
        description:
          - Variables of every process that are secrets. Only root reads their file, C(secrets/environment), as systemd
            does for a unit that names it.
        type: dict
        default: {}
      fingerprints:
        description: Name and keyed hash of each secret.
        type: dict
        default: {}
  current:
    description: A link that names the deployment in use. It is read, to show what differs, and never written.
    type: path
    default: /opt/airflow/current
  group:
    description: The group that may read the secrets.
    type: str
    default: airflow
"""

EXAMPLES = r"""
- name: Write a deployment
  dataops.airflow.airflow_deployment:
    deployment:
      path: /opt/airflow/deployments/0f3a9be41c22
      release: /opt/airflow/releases/3.3.2-0be18504e633
      version: 3.3.2
      config: "{{ lookup('ansible.builtin.template', 'airflow.cfg.j2') }}"
      secrets:
        core.fernet_key: "{{ vault_airflow_fernet_key }}"
"""

RETURN = r"""
path:
  description: The directory of the deployment.
  returned: always
  type: str
  sample: /opt/airflow/deployments/0f3a9be41c22
repaired:
  description: Files of an existing deployment that were, or in check mode would be, put right.
  returned: always
  type: list
  elements: str
  sample: [airflow.cfg]
"""

import contextlib
import grp
import json
import os
import shutil
import stat

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._files import discard, put
from ..module_utils._lock import alone


class Deployment:
    """What the directory should hold, and what it does."""

    def __init__(self, declared, group):
        self.path = declared["path"]
        self.release = declared["release"]
        self.group = group
        try:
            self.gid = grp.getgrnam(self.group).gr_gid
        except KeyError:
            self.gid = None
        environment = assignments(declared["environment"])
        manifest = {
            "digest": os.path.basename(self.path),
            "version": declared["version"],
            "release": self.release,
            "fingerprints": declared["fingerprints"],
        }
        # name -> (content, mode)
        self.files = {
            "airflow.cfg": (declared["config"], 0o644),
            "environment": (environment, 0o640),
            "manifest.json": (json.dumps(manifest, indent=2, sort_keys=True) + "\n", 0o644),
        }
        for name, value in declared["files"].items():
            self.files[name] = (str(value), 0o644)
        for name, value in declared["secrets"].items():
            self.files["secrets/" + name] = (str(value), 0o640)
        if declared["secret_environment"]:
            # For systemd, which reads it before it becomes the user.
            self.files["secrets/environment"] = (assignments(declared["secret_environment"]), 0o600)

    def wrong(self):
        """Names of what is not as it should be; everything, when there is no such deployment."""
        names = [] if has_mode(self.path, 0o755) else ["."]
        names += [name for name in sorted(self.files) if not self._right(name)]
        if self._link() != self.release:
            names.append("release")
        secrets = os.path.join(self.path, "secrets")
        names += ["secrets/" + name for name in listed(secrets) if "secrets/" + name not in self.files]
        if not has_mode(secrets, 0o750, self.gid):
            names.append("secrets")
        return names

    def _link(self):
        try:
            return os.readlink(os.path.join(self.path, "release"))
        except OSError:
            return ""

    def _right(self, name):
        content, mode = self.files[name]
        path = os.path.join(self.path, name)
        return has_mode(path, mode, self.gid) and read(path) == content

    @contextlib.contextmanager
    def alone(self):
        """Keeps other runs on this host from writing the same files at the same time."""
        if self.gid is None:
            raise OSError("there is no group %s on this host" % self.group)
        parent = os.path.dirname(self.path)
        # Whatever the caller's umask is: the Airflow user has to get through.
        os.umask(0o022)
        os.makedirs(parent, exist_ok=True)
        with alone(os.path.join(parent, ".lock")):
            yield

    def write(self, names):
        """Writes the deployment, or of an existing one only what `names` says."""
        if os.path.isdir(self.path):
            self._fill(self.path, names)
            return
        parent = os.path.dirname(self.path)
        for name in listed(parent):
            # Left by a run that was killed, perhaps of another deployment.
            if name.endswith(".new"):
                discard(os.path.join(parent, name))
        aside = self.path + ".new"
        os.mkdir(aside)
        self._fill(aside, names)
        os.sync()
        os.rename(aside, self.path)

    def _fill(self, directory, names):
        own(directory, 0o755, 0)
        secrets = os.path.join(directory, "secrets")
        if os.path.islink(secrets) or not os.path.isdir(secrets):
            discard(secrets)
        os.makedirs(secrets, mode=0o750, exist_ok=True)
        own(secrets, 0o750, self.gid)
        for name in names:
            path = os.path.join(directory, name)
            if name == "release":
                replace(path, lambda new: os.symlink(self.release, new))
            elif name in self.files:
                content, mode = self.files[name]
                replace(path, lambda new, content=content, mode=mode: put(new, content, mode, 0, self.gid))
            elif name not in (".", "secrets"):
                discard(path)


def replace(path, make):
    """Puts what `make` makes in the place of `path` in one step."""
    new = path + ".new"
    discard(new)
    make(new)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    os.replace(new, path)


def own(path, mode, gid):
    """Makes a directory root's and `gid`'s, with this mode."""
    os.chown(path, 0, gid)
    os.chmod(path, mode)


def assignments(environment):
    """The text of an environment file."""
    return "".join("%s=%s\n" % (name, quoted(value)) for name, value in sorted(environment.items()))


def quoted(value):
    """A value as systemd reads it in an environment file."""
    return '"%s"' % str(value).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")


def has_mode(path, mode, gid=None):
    """Whether the file or directory is root's, and the group's if one is given, and has this mode."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_uid == 0 and gid in (None, found.st_gid) and stat.S_IMODE(found.st_mode) == mode


def read(path):
    """The text of a file, or None."""
    try:
        with open(path, "rb") as handle:
            return handle.read().decode(errors="replace")
    except OSError:
        return None


def listed(directory):
    """Names in a directory, none when it is not there."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def further_files(directory):
    """The files of a deployment that not every one has, and that may be shown."""
    usual = ("airflow.cfg", "environment", "manifest.json", "release", "secrets")
    return {name: read(os.path.join(directory, name)) or "" for name in listed(directory) if name not in usual}


def described(config, environment, files, fingerprints):
    """A deployment as the diff shows it."""
    text = config or ""
    if environment:
        text += "\n# environment\n" + environment
    for name, content in sorted(files.items()):
        text += "\n# %s\n%s" % (name, content)
    if fingerprints:
        text += "\n# keyed hashes of the secrets\n"
        text += "".join("%s %s\n" % item for item in sorted(fingerprints.items()))
    return text


def main():
    module = AnsibleModule(
        argument_spec=dict(
            deployment=dict(
                type="dict",
                required=True,
                options=dict(
                    path=dict(type="path", required=True),
                    release=dict(type="path", required=True),
                    version=dict(type="str", required=True),
                    config=dict(type="str", required=True),
                    environment=dict(type="dict", default={}),
                    files=dict(type="dict", default={}),
                    secrets=dict(type="dict", default={}, no_log=True),
                    secret_environment=dict(type="dict", default={}, no_log=True),
                    fingerprints=dict(type="dict", default={}),
                ),
            ),
            current=dict(type="path", default="/opt/airflow/current"),
            group=dict(type="str", default="airflow"),
        ),
        supports_check_mode=True,
    )
    declared = module.params["deployment"]
    deployment = Deployment(declared, module.params["group"])
    exists = os.path.isdir(deployment.path)
    try:
        wrong = deployment.wrong()
        result = dict(changed=bool(wrong), path=deployment.path, repaired=wrong if exists else [])
        if wrong:
            shown = deployment.path if exists else os.path.realpath(module.params["current"])
            try:
                fingerprints = dict(json.loads(read(os.path.join(shown, "manifest.json")) or "")["fingerprints"])
            except (KeyError, TypeError, ValueError):
                fingerprints = {}
            before = described(
                read(os.path.join(shown, "airflow.cfg")),
                read(os.path.join(shown, "environment")),
                further_files(shown),
                fingerprints,
            )
            after = described(
                declared["config"],
                deployment.files["environment"][0],
                declared["files"],
                declared["fingerprints"],
            )
            # The deployment's own path is in its airflow.cfg: shown as what changed, it would hide what did.
            before = before.replace(os.path.realpath(shown), "<deployment>")
            after = after.replace(deployment.path, "<deployment>")
            result["diff"] = dict(before=before, after=after, before_header=shown, after_header=deployment.path)
        if wrong and not module.check_mode:
            with deployment.alone():
                deployment.write(deployment.wrong())
                left = deployment.wrong()
            if left:
                module.fail_json(msg="%s still differs after it was written: %s" % (deployment.path, ", ".join(left)))
    except OSError as error:
        module.fail_json(msg="cannot write %s: %s" % (deployment.path, error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
