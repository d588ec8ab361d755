# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.
# Runs in the interpreter of the release, as old as Python 3.6: hence no `annotations` future, and only what 3.6 has.

"""Reads the users of the FAB auth manager with the plain driver, and changes them with Airflow's own code.

dataops.airflow.airflow_users sends this text to the interpreter. It prints one JSON object. Only a change imports
Airflow: that takes seconds. The request's `library` is the text of _db_helper, which finds and opens the database.
"""

import contextlib
import os
import types


def load(text):
    """The text of a module as a module."""
    module = types.ModuleType("library")
    exec(compile(text, "library", "exec"), module.__dict__)
    return module


def schema(config):
    return config.plain("database", "sql_alchemy_schema") or config.plain("core", "sql_alchemy_schema")


# --- reading ---------------------------------------------------------------------------------------------------------


def read(request, library):
    config = library.Configuration(request["config"])
    server = library.open_database(config)
    try:
        if "ab_user" not in server.tables(schema(config)):
            return {"tables": False}
        users = read_users(server, request["users"], library.marks)
        roles = sorted(row[0] for row in server.rows("SELECT name FROM ab_role"))
    finally:
        server.close()
    return {"tables": True, "users": users, "roles": roles}


def read_users(server, wanted, marks):
    """Every user that has a name or an address that is asked for."""
    names = [user["username"].lower() for user in wanted]
    emails = [user["email"].lower() for user in wanted if user.get("email")]
    where = f"lower(username) IN ({marks(names)})"
    if emails:
        where += f" OR lower(email) IN ({marks(emails)})"
    found = {}
    for row in server.rows(
        "SELECT id, username, email, first_name, last_name, active, password FROM ab_user WHERE " + where,
        names + emails,
    ):
        found[row[0]] = {
            "username": row[1],
            "email": row[2],
            "first_name": row[3],
            "last_name": row[4],
            "active": bool(row[5]),
            "roles": [],
            "password": row[6],
        }
    if found:
        ids = sorted(found)
        for user, role in server.rows(
            "SELECT ur.user_id, r.name FROM ab_user_role ur JOIN ab_role r ON r.id = ur.role_id"
            f" WHERE ur.user_id IN ({marks(ids)})",
            ids,
        ):
            found[user]["roles"].append(role)
    passwords = {user["username"].lower(): user["password"] for user in wanted if user.get("password")}
    for user in found.values():
        user["roles"].sort()
        # The hash goes nowhere: only whether the password is the right one.
        stored = user.pop("password")
        password = passwords.get(user["username"].lower())
        user["password_matches"] = None if password is None else matches(stored, password)
    return sorted(found.values(), key=lambda user: user["username"])


def matches(stored, password):
    from werkzeug.security import check_password_hash

    try:
        return bool(stored) and check_password_hash(stored, password)
    except ValueError:
        # A kind of hash that this release does not know: nobody can log in with it.
        return False


# --- changing --------------------------------------------------------------------------------------------------------


def is_1_10(library):
    return os.path.isdir(os.path.join(library.package_root(), "airflow", "www_rbac"))


@contextlib.contextmanager
def builder_1_10():
    """Airflow 1.10 has one for its commands as well, but not in a context manager."""
    # The user interface would read all DAGs.
    os.environ["SKIP_DAGS_PARSING"] = "True"
    from airflow.www_rbac.app import cached_appbuilder

    builder = cached_appbuilder()
    builder.sm.takes_one_role = True
    yield builder


def application_builder(library):
    """The context manager with which Airflow's own `users` commands work."""
    if is_1_10(library):
        return builder_1_10()
    try:
        from airflow.providers_manager import ProvidersManager

        # Otherwise the defaults of the [fab] section are missing.
        ProvidersManager().initialize_providers_configuration()
    except (ImportError, AttributeError):
        pass
    try:
        from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    except ImportError:
        from airflow.utils.cli_app_builder import get_application_builder
    return get_application_builder()


def write(request, library):
    """Makes the changes one after the other, and says which one did not work and why."""
    done = []
    with application_builder(library) as builder:
        manager = builder.sm
        for change in request["changes"]:
            problem = apply(manager, change)
            if problem:
                return {"done": done, "failed": change["username"], "reason": problem}
            done.append(change["username"])
    return {"done": done}


def apply(manager, change):
    roles = None
    if change.get("roles") is not None:
        roles = []
        for name in change["roles"]:
            role = manager.find_role(name)
            if not role:
                existing = ", ".join(sorted(role.name for role in manager.get_all_roles()))
                return f"there is no role {name}; there are: {existing}"
            roles.append(role)
    user = manager.find_user(change["username"])
    if change["action"] == "create":
        if user:
            return "somebody else has just created this user"
        takes_one_role = getattr(manager, "takes_one_role", False)
        user = manager.add_user(
            change["username"],
            change["first_name"],
            change["last_name"],
            change["email"],
            roles[0] if takes_one_role else roles,
            password=change["password"],
        )
        if not user:
            return "Airflow could not create the user"
        active = change.get("active", True)
        if takes_one_role or not active:
            user.roles = roles
            user.active = active
            return None if manager.update_user(user) is not False else "Airflow could not finish the new user"
        return None
    if not user:
        return None if change["action"] == "delete" else "somebody else has just deleted this user"
    if change["action"] == "delete":
        user.roles.clear()
        if manager.del_register_user(user):
            return None
        return "Airflow could not delete the user: other rows may name it as their author; use active: false instead"
    for field in ("email", "first_name", "last_name", "active"):
        if change.get(field) is not None:
            setattr(user, field, change[field])
    if roles is not None:
        user.roles = roles
    if manager.update_user(user) is False:
        return "Airflow could not change the user"
    if change.get("password") is not None and manager.reset_password(user.id, change["password"]) is False:
        return "Airflow could not change the password"
    return None


# --- entry -----------------------------------------------------------------------------------------------------------


def main(request):
    library = load(request["library"])
    passwords = [item["password"] for item in request.get("changes", []) if item.get("password")]
    library.answer(lambda: read(request, library) if request["do"] == "read" else write(request, library), passwords)


if "REQUEST" in globals():
    main(globals()["REQUEST"])
