#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_users
short_description: Manage the users of Airflow's FAB auth manager
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
  - Airflow 2.7 or later with the FAB auth manager, and its tables in the metadata database, see
    M(dataops.airflow.airflow_db).
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

import inspect

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _db_helper, _users_helper
from ..module_utils._runner import RUNNER_ARGUMENTS, Runner, RunnerError, stand_in

# Airflow makes these when its API server, or a change of users, first runs on a new database.
BUILT_IN_ROLES = ["Admin", "Op", "Public", "User", "Viewer"]
FIELDS = ["email", "first_name", "last_name", "roles", "active"]
# What a host or a database that is still to be made answers with.
NOT_YET = ["config", "command", "no_airflow", "no_driver", "resolve", "unreachable", "database", "password", "access"]
DONE = {"create": "created", "update": "updated", "delete": "deleted"}


class Users:
    """The declared users, and what the database holds of them."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        stand_in(module)
        self.runner = Runner(self.params["venv"], self.params["home"], self.params["config"], self.params["user"])
        self.declared = []
        for user in self.params["users"]:
            user = dict(user)
            if user["roles"] is not None:
                user["roles"] = sorted(set(user["roles"]))
            self.declared.append(user)

    def fail(self, message):
        self.module.fail_json(msg=message)

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

    def run(self, request):
        request["library"] = inspect.getsource(_db_helper)
        request["config"] = self.params["config"]
        return self.runner.python(inspect.getsource(_users_helper), request, timeout=self.params["timeout"])

    def read(self):
        """The users and roles in the database; nothing of either where that is still to be made (check mode)."""
        request = dict(do="read", users=[])
        for user in self.declared:
            item = dict(username=user["username"], email=user["email"])
            if self.params["update_password"] == "always" and user["state"] == "present":
                item["password"] = user["password"]
            request["users"].append(item)
        nothing = dict(users=[], roles=[])
        try:
            found = self.run(request)
        except RunnerError as error:
            if self.module.check_mode:
                return nothing
            self.fail(str(error))
        if "problem" in found:
            if self.module.check_mode and found["problem"] in NOT_YET:
                return nothing
            self.fail(
                f"cannot read the users in the metadata database that {self.params['config']} names: {explain(found)}."
                " dataops.airflow.airflow_db says more"
            )
        if not found["tables"]:
            if self.module.check_mode:
                return nothing
            self.fail(
                "the metadata database has no table ab_user: run dataops.airflow.airflow_db first, with [core]"
                " auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager (Airflow 3) in"
                f" {self.params['config']}"
            )
        return found

    def plan(self, found):
        """The changes that are needed."""
        existing = {user["username"].lower(): user for user in found["users"]}
        self.check_roles(found["roles"])
        self.check_emails(existing)
        changes = []
        for user in self.declared:
            before = existing.get(user["username"].lower())
            if user["state"] == "absent":
                if before is not None:
                    changes.append(dict(action="delete", username=before["username"], fields=[], before=before))
            elif before is None:
                changes.append(self.creation(user))
            else:
                change = self.update(user, before)
                if change["fields"]:
                    changes.append(change)
        # An address is free for a user only when the one that had it is gone.
        return sorted(changes, key=lambda change: change["action"] != "delete")

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
        )

    def update(self, user, before):
        change = dict(action="update", username=before["username"], before=before, fields=[])
        for field in FIELDS:
            if user[field] is not None and user[field] != before[field]:
                change[field] = user[field]
                change["fields"].append(field)
        if before["password_matches"] is False:
            change["password"] = user["password"]
            change["fields"].append("password")
        return change

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

    def apply(self, changes):
        wire = [{key: value for key, value in change.items() if key not in ("before", "fields")} for change in changes]
        try:
            answer = self.run(dict(do="write", changes=wire))
        except RunnerError as error:
            self.fail(str(error))
        if "problem" in answer:
            return explain(answer)
        return f"{answer['failed']}: {answer['reason']}" if "failed" in answer else None


def explain(answer):
    facts = answer.get("facts") or {}
    reason = facts.get("reason") or ", ".join(f"{name} {facts[name]}" for name in sorted(facts))
    return f"{answer['problem']} ({reason})" if reason else answer["problem"]


def difference(changes):
    """The users before and after, without any password."""
    before = {}
    after = {}
    for change in changes:
        name = change["username"]
        if change["before"] is not None:
            before[name] = {field: change["before"][field] for field in FIELDS}
        if change["action"] != "delete":
            after[name] = dict(before.get(name, {}))
            after[name].update((field, change[field]) for field in FIELDS if field in change)
            if "password" in change:
                after[name]["password"] = "changed" if change["action"] == "update" else "set"
    return dict(before=before, after=after)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            users=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    username=dict(type="str", required=True),
                    password=dict(type="str", no_log=True),
                    email=dict(type="str"),
                    first_name=dict(type="str"),
                    last_name=dict(type="str"),
                    roles=dict(type="list", elements="str"),
                    active=dict(type="bool", default=True),
                    state=dict(type="str", choices=["present", "absent"], default="present"),
                ),
            ),
            update_password=dict(type="str", choices=["always", "on_create"], default="on_create", no_log=False),
            timeout=dict(type="int", default=300),
        ),
        supports_check_mode=True,
    )
    users = Users(module)
    users.check_declaration()
    if not users.declared:
        module.exit_json(changed=False, users={}, diff=dict(before={}, after={}))
    changes = users.plan(users.read())
    result = {user["username"]: dict(action="unchanged", fields=[]) for user in users.declared}
    by_name = {name.lower(): name for name in result}
    for change in changes:
        fields = sorted(change["fields"])
        result[by_name[change["username"].lower()]] = dict(action=DONE[change["action"]], fields=fields)
    if changes and not module.check_mode:
        problem = users.apply(changes)
        left = users.plan(users.read())
        # What another run did at the same moment is as good.
        if left:
            reason = problem or "the database does not hold what was written: is another run changing the same users?"
            module.fail_json(msg=f"users: {reason}", changed=len(left) < len(changes))
    module.exit_json(changed=bool(changes), users=result, diff=difference(changes))


if __name__ == "__main__":
    main()
