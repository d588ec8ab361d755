# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: runuser
short_description: Root becomes another user
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Lets a connection that is root's run tasks as another user, by C(runuser) of util-linux, an essential package.
  - Like C(su), it needs no sudo on the host. Unlike C(su), which may ask at a terminal, it allows pipelining, by which
    Ansible reaches the host once for a module instead of six times.
options:
  become_user:
    description: The user who runs the task.
    type: string
    default: root
    keyword:
      - name: become_user
    vars:
      - name: ansible_become_user
    env:
      - name: ANSIBLE_BECOME_USER
    ini:
      - section: privilege_escalation
        key: become_user
notes:
  - C(runuser) asks for no password, and works for root alone.
"""

import shlex

from ansible.plugins.become import BecomeBase


class BecomeModule(BecomeBase):
    """See DOCUMENTATION."""

    name = "runuser"

    def build_become_command(self, cmd, shell):
        super().build_become_command(cmd, shell)
        if not cmd:
            return cmd
        user = shlex.quote(self.get_option("become_user"))
        # Users of services may have no login shell.
        return "runuser -s /bin/sh %s -c %s" % (user, self._build_success_command(cmd, shell, noexe=True))
