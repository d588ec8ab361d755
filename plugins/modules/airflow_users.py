#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_users
short_description: Manage Airflow's users
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Compares the declared users with those in the metadata database, and creates, changes and deletes them.
  - Reading uses the database driver of the release and does not import Airflow. A change goes through Airflow's own
    code, in one process for all users.
  - Users that are not listed are left alone.
  - Usernames are the same whether they are written in upper or lower case, as they are to Airflow.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description:
      - Says what would change, without changing it.
      - Without a release, a database or its tables, as on a bare host, every user would be created.
    support: full
  diff_mode:
    description: Shows each user before and after. A password shows only as C(changed).
    support: full
requirements:
  - Airflow 2.7 or later with the FAB auth manager, or Airflow 1.10 with C([webserver] rbac), and its tables in the
    metadata database, see M(dataops.airflow.airflow_db).
options:
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      username:
        description: Name of the user.
        type: str
        required: true
      password:
        description:
          - Password of the user.
          - Needed to create the user.
        type: str
      email:
        description:
          - Address of the user. No two users can have the same one.
          - Needed to create the user. Left as it is if omitted.
        type: str
      first_name:
        description: First name. Left as it is if omitted; of a new user it is the username then.
        type: str
      last_name:
        description: Last name. Left as it is if omitted; of a new user it is empty then.
        type: str
      roles:
        description:
          - All roles of the user.
          - Needed to create the user. Left as they are if omitted.
        type: list
        elements: str
      active:
        description: Whether the user may log in.
        type: bool
        default: true
      state:
        description: Whether the user exists.
        type: str
        choices: [present, absent]
        default: present
  update_password:
    description:
      - V(on_create) sets the password of new users only.
      - V(always) makes sure of the password of every user that has one in O(users).
    type: str
    choices: [always, on_create]
    default: on_create
  timeout:
    description: How long each program of the release may run, in seconds.
    type: int
    default: 300
seealso:
  - module: dataops.airflow.airflow_db
"""

EXAMPLES = r"""
- name: Declare the users
  dataops.airflow.airflow_users:
    venv: /opt/airflow/releases/0c1d2e3f
    home: /var/lib/airflow
    config: /opt/airflow/deployments/4f2a9c31/airflow.cfg
    users:
      - username: admin
        password: "{{ vault_airflow_admin_password }}"
        email: admin@example.com
        first_name: Ada
        last_name: Admin
        roles: [Admin]
      - username: former
        state: absent
  run_once: true
"""

RETURN = r"""
users:
  description: What was done to each user, or would be, by username.
  returned: success
  type: dict
  contains:
    action:
      description: V(created), V(updated), V(deleted) or V(unchanged).
      type: str
      sample: updated
    fields:
      description: What changed of a user that was updated. Never a password itself.
      type: list
      elements: str
      sample: [email, roles]
  sample:
    admin:
      action: updated
      fields: [email, roles]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _users_helper
from ..module_utils._objects import STATE, Objects
from ..module_utils._runner import RUNNER_ARGUMENTS

# Airflow makes these when its API server, or a change of users, first runs on a new database.
BUILT_IN_ROLES = ["Admin", "Op", "Public", "User", "Viewer"]


class Users(Objects):
    """The declared users, and what the database holds of them."""

    option = "users"
    key = "username"
    fields = ["email", "first_name", "last_name", "roles", "active"]
    helper = _users_helper
    nothing = dict(users=[], roles=[])

    def __init__(self, module):
        super().__init__(module)
        for user in self.declared:
            if user["roles"] is not None:
                user["roles"] = sorted(set(user["roles"]))

    @staticmethod
    def fold(name):
        return name.lower()

    def check_declaration(self):
        names = {}
        emails = {}
        for user in self.declared:
            name = user["username"].lower()
            if not name.strip():
                self.fail("users: a username is empty")
            if name in names:
                self.fail(f"users: {user['username']} is listed twice")
            names[name] = user
            if user["password"] == "":
                self.fail(f"users: the password of {user['username']} is empty")
            email = (user["email"] or "").lower()
            if email and user["state"] == "present":
                if email in emails:
                    self.fail(f"users: {emails[email]} and {user['username']} have the same email {user['email']}")
                emails[email] = user["username"]

    def question(self):
        users = []
        for user in self.declared:
            item = dict(username=user["username"], email=user["email"])
            if self.params["update_password"] == "always" and user["state"] == "present":
                item["password"] = user["password"]
            users.append(item)
        return dict(users=users)

    def no_table(self):
        return (
            "the metadata database has no table ab_user: run dataops.airflow.airflow_db first, with [core]"
            " auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager (Airflow 3) in"
            f" {self.params['config']}"
        )

    def existing(self, found):
        users = {user["username"]: user for user in found["users"]}
        self.check_roles(found["roles"])
        self.check_emails({user["username"].lower(): user for user in found["users"]})
        return users

    def creation(self, user):
        missing = [name for name in ("password", "email", "roles") if not user[name]]
        if missing:
            self.fail(f"users: {user['username']} does not exist yet; to create it, declare its {', '.join(missing)}")
        return dict(
            action="create",
            username=user["username"],
            password=user["password"],
            email=user["email"],
            first_name=user["username"] if user["first_name"] is None else user["first_name"],
            last_name=user["last_name"] or "",
            roles=user["roles"],
            active=user["active"],
            fields=[],
            before=None,
            marks=dict(password="set"),
        )

    def update(self, user, before):
        change = dict(action="update", username=before["username"], before=before, fields=[], marks={})
        for field in self.fields:
            if user[field] is not None and user[field] != before[field]:
                change[field] = user[field]
                change["fields"].append(field)
        if before["password_matches"] is False:
            change["password"] = user["password"]
            change["fields"].append("password")
            change["marks"]["password"] = "changed"
        return change

    def wire(self, change):
        return {name: value for name, value in change.items() if name not in ("before", "fields", "marks")}

    def check_roles(self, existing):
        known = set(existing) | set(BUILT_IN_ROLES)
        for user in self.declared:
            unknown = [role for role in user["roles"] or [] if role not in known]
            if unknown and user["state"] == "present":
                self.fail(
                    f"users: {user['username']} wants the role {', '.join(unknown)}, which does not exist;"
                    f" there are: {', '.join(sorted(known))}"
                )

    def check_emails(self, existing):
        leaving = {user["username"].lower() for user in self.declared if user["state"] == "absent"}
        moving = {
            user["username"].lower(): user["email"].lower()
            for user in self.declared
            if user["state"] == "present" and user["email"]
        }
        for user in self.declared:
            email = moving.get(user["username"].lower())
            for name, other in existing.items():
                if name in leaving or name == user["username"].lower() or other["email"].lower() != email:
                    continue
                if moving.get(name, email) == email:
                    self.fail(
                        f"users: the email {user['email']} of {user['username']} belongs to the user"
                        f" {other['username']} already"
                    )


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            users=dict(
                type="list",
                elements="dict",
                required=True,
                no_log=True,
                options=dict(
                    username=dict(type="str", required=True),
                    password=dict(type="str", no_log=True),
                    email=dict(type="str"),
                    first_name=dict(type="str"),
                    last_name=dict(type="str"),
                    roles=dict(type="list", elements="str"),
                    active=dict(type="bool", default=True),
                    state=STATE,
                ),
            ),
            update_password=dict(type="str", choices=["always", "on_create"], default="on_create", no_log=False),
            timeout=dict(type="int", default=300),
        ),
        supports_check_mode=True,
    )
    Users(module).work()


if __name__ == "__main__":
    main()
