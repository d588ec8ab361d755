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

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._files import DIRECTORY, FILE, Directory, File, discard


def main():
    module = AnsibleModule(
        argument_spec=dict(
            directories=dict(type="list", elements="dict", default=[], options=DIRECTORY),
            files=dict(type="list", elements="dict", default=[], options=FILE),
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
            shown = entry.settle(module.check_mode)
        except (OSError, ValueError) as error:
            module.fail_json(msg="cannot make the %s %s: %s" % (kind.called, declared["path"], error), paths=paths)
        if shown:
            diff.append(shown)
            paths.append(entry.path)
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
