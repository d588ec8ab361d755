#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_files
short_description: Make directories and files of an Airflow host, all in one run
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Creates directories and sees to their owner, group and mode. What is in them is left alone.
  - Then writes files, each in one step, so that nobody ever reads a part of one. A link in the place of a file is
    replaced, not followed.
  - Before all that, it removes what should not be there.
  - It does what M(ansible.builtin.file) and M(ansible.builtin.copy) do in loops, in one run of a module on the host.
  - Contents are shown in the diff, so they may not be secrets.
attributes:
  check_mode:
    description: Can run in check mode and tell which directories and files would be created, changed or removed.
    support: full
  diff_mode:
    description: Shows what changes of each directory and in each file.
    support: full
options:
  directories:
    description: The directories, each before those that are in it.
    type: list
    elements: dict
    default: []
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
        description: Its mode, in octal.
        type: str
        default: "0750"
  files:
    description: The files. Their directories have to be there, or to be among O(directories).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file.
        type: path
        required: true
      content:
        description: The whole text of the file.
        type: str
        required: true
      owner:
        description: The user it belongs to. O(owner) by default.
        type: str
      group:
        description: The group it belongs to. O(group) by default.
        type: str
      mode:
        description: Its mode, in octal.
        type: str
        default: "0644"
      validate:
        description:
          - A command that ends with exit code 0 if the file will do, C(%s) being the path of the file before it is put
            in its place. If it does not, what was there stays. It is not run in check mode.
        type: str
  absent:
    description: Paths of files, of links and of directories with all that is in them, none of which should be there.
    type: list
    elements: path
    default: []
  owner:
    description: The user that everything belongs to which names no other.
    type: str
    default: root
  group:
    description: The group that everything belongs to which names no other.
    type: str
    default: root
"""

EXAMPLES = r"""
- name: Make the directories of Airflow, and a DAG
  dataops.airflow.airflow_files:
    owner: airflow
    group: airflow
    directories:
      - path: /var/lib/airflow
      - path: /var/lib/airflow/dags
    files:
      - path: /var/lib/airflow/dags/report.py
        content: "{{ lookup('ansible.builtin.file', 'report.py', rstrip=false) }}"
        owner: root
"""

RETURN = r"""
paths:
  description: Directories and files that were, or in check mode would be, created, changed or removed.
  returned: always
  type: list
  elements: str
  sample: [/var/lib/airflow/dags]
"""

import grp
import os
import pwd
import shlex
import stat
import subprocess

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._files import discard, put


class Entry:
    """What directories and files have in common: a path, an owner, a group and a mode."""

    # What the entry is, as os.stat tells it, and in words.
    kind, called = None, ""

    def __init__(self, entry, defaults):
        self.path = entry["path"]
        self.owner, self.group = (entry[name] or defaults[name] for name in ("owner", "group"))
        self.mode = int(entry["mode"], 8)
        try:
            self.ids = pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid
        except KeyError:
            # In check mode, what makes them may be a step that has not been taken.
            self.ids = None

    def state(self):
        """What is there: its owner, group and mode, None when nothing is."""
        try:
            found = self.look(self.path)
        except FileNotFoundError:
            return None
        if stat.S_IFMT(found.st_mode) != self.kind:
            raise OSError("it is there, and no %s" % self.called)
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    def look(self, path):
        return os.stat(path)

    def right(self):
        """Whether it is as declared."""
        return self.ids is not None and self.state() == (*self.ids, self.mode)

    def make(self):
        """Makes it what is declared."""
        if self.ids is None:
            raise OSError("there is no user %s or no group %s on this host" % (self.owner, self.group))
        self.put()

    def put(self):
        raise NotImplementedError

    def before(self):
        """What is there, as the diff shows it."""
        state = self.state()
        if state is None:
            return ""
        owner = named(pwd.getpwuid, state[0], "pw_name")
        return "%s %s:%s %04o\n" % (self.path, owner, named(grp.getgrgid, state[1], "gr_name"), state[2])

    def after(self):
        """What should be there, as the diff shows it."""
        return "%s %s:%s %04o\n" % (self.path, self.owner, self.group, self.mode)

    def diff(self):
        """What the diff shows, before anything is changed."""
        return dict(before=self.before(), after=self.after(), before_header=self.path, after_header=self.path)


class Directory(Entry):
    """One directory as declared."""

    kind, called = stat.S_IFDIR, "directory"

    def put(self):
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        if not os.path.isdir(self.path):
            # Nobody gets in before it is whose it should be.
            os.mkdir(self.path, 0o700)
        os.chown(self.path, *self.ids)
        os.chmod(self.path, self.mode)


class File(Entry):
    """One file as declared."""

    kind, called = stat.S_IFREG, "file"

    def __init__(self, entry, defaults):
        super().__init__(entry, defaults)
        self.content = entry["content"]
        self.validate = entry["validate"]

    def look(self, path):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise FileNotFoundError(path)
        return found

    def text(self):
        """What is in the file that is there, nothing when none is."""
        if self.state() is None:
            return ""
        with open(self.path, "rb") as handle:
            return handle.read().decode(errors="replace")

    def right(self):
        return super().right() and self.text() == self.content

    def put(self):
        new = self.path + ".new"
        discard(new)
        put(new, self.content, self.mode, *self.ids)
        if self.validate:
            self.prove(new)
        os.replace(new, self.path)

    def prove(self, path):
        """Has a program look at the file, and removes it if that refuses it."""
        command = [word.replace("%s", path) for word in shlex.split(self.validate)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            os.unlink(path)
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise OSError("%s refuses it with exit code %d: %s" % (command[0], done.returncode, said))

    def before(self):
        return super().before() + self.text()

    def after(self):
        return super().after() + self.content


def named(look_up, number, attribute):
    """The name of a user or a group, or its number when it has none."""
    try:
        return getattr(look_up(number), attribute)
    except KeyError:
        return str(number)


def main():
    owned = dict(path=dict(type="path", required=True), owner=dict(type="str"), group=dict(type="str"))
    directory = dict(owned, mode=dict(type="str", default="0750"))
    file = dict(
        owned,
        content=dict(type="str", required=True),
        mode=dict(type="str", default="0644"),
        validate=dict(type="str"),
    )
    module = AnsibleModule(
        argument_spec=dict(
            directories=dict(type="list", elements="dict", default=[], options=directory),
            files=dict(type="list", elements="dict", default=[], options=file),
            absent=dict(type="list", elements="path", default=[]),
            owner=dict(type="str", default="root"),
            group=dict(type="str", default="root"),
        ),
        supports_check_mode=True,
    )
    paths, diff = [], []
    # Whatever the caller's umask is: parents have to let the Airflow user through.
    os.umask(0o022)
    for path in filter(os.path.lexists, module.params["absent"]):
        diff.append(dict(before=path + "\n", after="", before_header=path, after_header=path))
        try:
            if not module.check_mode:
                discard(path)
        except OSError as error:
            module.fail_json(msg="cannot remove %s: %s" % (path, error), paths=paths)
        paths.append(path)
    kinds = [(Directory, "directories"), (File, "files")]
    for kind, declared in [(kind, entry) for kind, name in kinds for entry in module.params[name]]:
        try:
            entry = kind(declared, module.params)
            if entry.right():
                continue
            diff.append(entry.diff())
            if not module.check_mode:
                entry.make()
        except (OSError, ValueError) as error:
            module.fail_json(msg="cannot make the %s %s: %s" % (kind.called, declared["path"], error), paths=paths)
        paths.append(entry.path)
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
