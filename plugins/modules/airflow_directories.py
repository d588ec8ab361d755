#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_directories
short_description: Make the directories of an Airflow host, all in one run
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Creates directories and sees to their owner, group and mode. What is in them is left alone.
  - It does what M(ansible.builtin.file) does in a loop, in one run of a module on the host.
attributes:
  check_mode:
    description: Can run in check mode and tell which directories would be created or changed.
    support: full
  diff_mode:
    description: Shows what changes of each directory.
    support: full
options:
  directories:
    description: The directories, each before those that are in it.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the directory. Missing parents are created as root's, with mode V(0755).
        type: path
        required: true
      owner:
        description: The user it belongs to. O(owner) by default.
        type: str
      group:
        description: The group it belongs to. O(group) by default.
        type: str
      mode:
        description: Its mode, in octal. O(mode) by default.
        type: str
  owner:
    description: The user that a directory belongs to unless it names another.
    type: str
    default: airflow
  group:
    description: The group that a directory belongs to unless it names another.
    type: str
    default: airflow
  mode:
    description: The mode of a directory unless it has its own, in octal.
    type: str
    default: "0750"
"""

EXAMPLES = r"""
- name: Make the directories of Airflow
  dataops.airflow.airflow_directories:
    directories:
      - path: /opt/airflow
        owner: root
        group: root
        mode: "0755"
      - path: /var/lib/airflow
      - path: /var/lib/airflow/dags
"""

RETURN = r"""
paths:
  description: Directories that were, or in check mode would be, created or changed.
  returned: always
  type: list
  elements: str
  sample: [/var/lib/airflow/dags]
"""

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule


class Directory:
    """One directory as declared."""

    def __init__(self, entry, defaults):
        self.path = entry["path"]
        self.owner, self.group, mode = (entry[name] or defaults[name] for name in ("owner", "group", "mode"))
        self.mode = int(mode, 8)
        try:
            self.ids = pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid
        except KeyError:
            # In check mode, what makes them may be a step that has not been taken.
            self.ids = None

    def state(self):
        """What is there: its owner, group and mode, None when nothing is."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(found.st_mode):
            raise OSError("it is there, and no directory")
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    def right(self):
        """Whether it is as declared."""
        return self.ids is not None and self.state() == (*self.ids, self.mode)

    def make(self):
        """Makes it what is declared."""
        if self.ids is None:
            raise OSError("there is no user %s or no group %s on this host" % (self.owner, self.group))
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        if not os.path.isdir(self.path):
            # Nobody gets in before it is whose it should be.
            os.mkdir(self.path, 0o700)
        os.chown(self.path, *self.ids)
        os.chmod(self.path, self.mode)

    def before(self):
        """The directory that is there, as the diff shows it."""
        state = self.state()
        if state is None:
            return ""
        owner = named(pwd.getpwuid, state[0], "pw_name")
        return "%s %s:%s %04o\n" % (self.path, owner, named(grp.getgrgid, state[1], "gr_name"), state[2])

    def after(self):
        """The directory as it should be, as the diff shows it."""
        return "%s %s:%s %04o\n" % (self.path, self.owner, self.group, self.mode)


def named(look_up, number, attribute):
    """The name of a user or a group, or its number when it has none."""
    try:
        return getattr(look_up(number), attribute)
    except KeyError:
        return str(number)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            directories=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    path=dict(type="path", required=True),
                    owner=dict(type="str"),
                    group=dict(type="str"),
                    mode=dict(type="str"),
                ),
            ),
            owner=dict(type="str", default="airflow"),
            group=dict(type="str", default="airflow"),
            mode=dict(type="str", default="0750"),
        ),
        supports_check_mode=True,
    )
    paths, before, after = [], "", ""
    # Whatever the caller's umask is: parents have to let the Airflow user through.
    os.umask(0o022)
    for entry in module.params["directories"]:
        try:
            directory = Directory(entry, module.params)
            if directory.right():
                continue
            before += directory.before()
            if not module.check_mode:
                directory.make()
        except (OSError, ValueError) as error:
            module.fail_json(msg="cannot make the directory %s: %s" % (entry["path"], error), paths=paths)
        after += directory.after()
        paths.append(directory.path)
    module.exit_json(changed=bool(paths), paths=paths, diff=dict(before=before, after=after))


if __name__ == "__main__":
    main()
