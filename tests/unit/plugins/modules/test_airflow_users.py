# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The users module with a release that is made up: its driver and its Airflow work on one SQLite file."""

from __future__ import annotations

import contextlib
import json
import os
import pwd

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _users_helper
from ansible_collections.dataops.airflow.plugins.modules import airflow_users
from fake_release import FakeRelease

SECURITY = """
def check_password_hash(stored, password):
    if stored.startswith("broken"):
        raise ValueError("Invalid hash method")
    return stored == "hash of " + password
"""

# The same names and habits as Airflow's: roles come to be when the builder is made.
BUILDER = """
import contextlib, os, sqlite3
import psycopg2

print("Airflow prints this and that")
ROLES = ["Admin", "Op", "Public", "User", "Viewer"]
TROUBLE = os.path.join(os.path.dirname(psycopg2.PATH), "trouble")


def trouble():
    return open(TROUBLE).read() if os.path.exists(TROUBLE) else ""


class Role:
    def __init__(self, row):
        self.id, self.name = row


class User:
    pass


class Manager:
    def __init__(self, db):
        self.db = db
        for name in ROLES:
            db.execute("INSERT INTO ab_role (name) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM ab_role WHERE name = ?)",
                       (name, name))
        db.commit()

    def find_role(self, name):
        row = self.db.execute("SELECT id, name FROM ab_role WHERE name = ?", (name,)).fetchone()
        return Role(row) if row else None

    def get_all_roles(self):
        return [Role(row) for row in self.db.execute("SELECT id, name FROM ab_role")]

    def find_user(self, username):
        row = self.db.execute(
            "SELECT id, username, email, first_name, last_name, active, password FROM ab_user"
            " WHERE lower(username) = lower(?)", (username,)).fetchone()
        if trouble() == "somebody deletes":
            return None
        if row is None:
            return None
        user = User()
        (user.id, user.username, user.email, user.first_name, user.last_name, user.active, user.password) = row
        user.roles = [Role(row) for row in self.db.execute(
            "SELECT r.id, r.name FROM ab_role r JOIN ab_user_role ur ON ur.role_id = r.id WHERE ur.user_id = ?",
            (user.id,))]
        return user

    def add_user(self, username, first_name, last_name, email, role, password):
        if trouble() == "boom":
            raise RuntimeError("cannot store " + password)
        if trouble() == "no create":
            return False
        cursor = self.db.execute(
            "INSERT INTO ab_user (username, email, first_name, last_name, active, password) VALUES (?, ?, ?, ?, 1, ?)",
            (username, email, first_name, last_name, "hash of " + password))
        for item in role:
            self.db.execute("INSERT INTO ab_user_role (user_id, role_id) VALUES (?, ?)", (cursor.lastrowid, item.id))
        self.db.commit()
        if trouble() == "somebody creates":
            return False
        return self.find_user(username)

    def update_user(self, user):
        if trouble() == "no update":
            return False
        if trouble() == "lost update":
            return True
        self.db.execute("UPDATE ab_user SET email = ?, first_name = ?, last_name = ?, active = ? WHERE id = ?",
                        (user.email, user.first_name, user.last_name, user.active, user.id))
        self.db.execute("DELETE FROM ab_user_role WHERE user_id = ?", (user.id,))
        for role in user.roles:
            self.db.execute("INSERT INTO ab_user_role (user_id, role_id) VALUES (?, ?)", (user.id, role.id))
        self.db.commit()
        return True

    def reset_password(self, userid, password):
        if trouble() == "no password":
            return False
        self.db.execute("UPDATE ab_user SET password = ? WHERE id = ?", ("hash of " + password, userid))
        self.db.commit()
        return True

    def del_register_user(self, user):
        if trouble() == "no delete":
            return False
        self.db.execute("DELETE FROM ab_user WHERE id = ?", (user.id,))
        self.db.commit()
        return True


@contextlib.contextmanager
def get_application_builder():
    builder = User()
    builder.sm = Manager(sqlite3.connect(psycopg2.PATH))
    yield builder
"""


class Release(FakeRelease):
    """A made-up release with its configuration and database."""

    def __init__(self, root):
        super().__init__(root)
        self.write("werkzeug/__init__.py", "")
        self.write("werkzeug/security.py", SECURITY)
        self.new_builder()

    def new_builder(self):
        """As since Airflow 2.9: FAB is a provider."""
        for package in ("providers", "providers/fab", "providers/fab/auth_manager"):
            self.write(f"airflow/{package}/__init__.py", "")
        self.write("airflow/providers/fab/auth_manager/cli_commands/__init__.py", "")
        self.write("airflow/providers/fab/auth_manager/cli_commands/utils.py", BUILDER)
        self.write(
            "airflow/providers_manager.py",
            "class ProvidersManager:\n    def initialize_providers_configuration(self): pass\n",
        )

    def old_builder(self):
        """As in Airflow 2.7 and 2.8."""
        (self.packages / "airflow/providers/fab/auth_manager/cli_commands/utils.py").unlink()
        (self.packages / "airflow/providers_manager.py").unlink()
        self.write("airflow/utils/__init__.py", "")
        self.write("airflow/utils/cli_app_builder.py", BUILDER)

    def builder_1_10(self):
        """As in Airflow 1.10: the user interface has it, and a new user has one role."""
        (self.packages / "airflow/providers/fab/auth_manager/cli_commands/utils.py").unlink()
        (self.packages / "airflow/providers_manager.py").unlink()
        self.write("airflow/www_rbac/__init__.py", "")
        text = BUILDER.replace("for item in role:", "for item in [role]:")
        text += "\n\ndef cached_appbuilder():\n    assert os.environ['SKIP_DAGS_PARSING'] == 'True'\n"
        text += "    return get_application_builder().__enter__()\n"
        self.write("airflow/www_rbac/app.py", text)

    def trouble(self, kind):
        self.write("trouble", kind)

    def tables(self):
        self.database.executescript(
            "CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, email TEXT, first_name TEXT, last_name TEXT,"
            " active BOOLEAN, password TEXT); CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);"
            " CREATE TABLE ab_user_role (user_id INTEGER, role_id INTEGER);"
        )
        return self

    def user(self, username, email=None, roles=(), password="pw", active=1, first_name="F", last_name="L"):
        cursor = self.database.execute(
            "INSERT INTO ab_user (username, email, first_name, last_name, active, password) VALUES (?, ?, ?, ?, ?, ?)",
            (username, email or username + "@x", first_name, last_name, active, "hash of " + password),
        )
        for role in roles:
            self.database.execute("INSERT INTO ab_role (name) VALUES (?)", (role,))
            self.database.execute("INSERT INTO ab_user_role VALUES (?, last_insert_rowid())", (cursor.lastrowid,))
        self.database.commit()

    def users(self):
        found = {}
        for row in self.database.execute(
            "SELECT u.username, u.email, u.first_name, u.last_name, u.active, u.password, r.name FROM ab_user u"
            " LEFT JOIN ab_user_role ur ON ur.user_id = u.id LEFT JOIN ab_role r ON r.id = ur.role_id ORDER BY r.name"
        ):
            found.setdefault(row[0], [*row[1:6], []])[5].append(row[6])
        return found


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path)


@pytest.fixture
def call(release, capsys, monkeypatch):
    """Calls the module, and makes sure that no secret gets out of it."""
    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(msg))

    def run(*users, check=False, **more):
        arguments = {
            "venv": str(release.venv),
            "home": "/tmp",
            "config": str(release.config),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "users": list(users),
            "_ansible_check_mode": check,
        }
        arguments.update(more)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_users.main()
        text = capsys.readouterr().out
        for secret in ("db-secret", "hash of", *(user.get("password") or "hash of" for user in users)):
            assert json.dumps(secret)[1:-1] not in text
            assert secret not in "".join(logged) and repr(secret)[1:-1] not in "".join(logged)
        return json.loads(text)

    return run


ANN = {"username": "ann", "password": "s3cret-1", "email": "ann@x", "roles": ["User", "Op"]}


def test_create(release, call):
    release.tables()
    bob = {
        "username": "bob",
        "password": "s3cret-2",
        "email": "bob@x",
        "roles": ["Viewer"],
        "first_name": "Bob",
        "last_name": "Builder",
        "active": False,
    }
    expected = {
        "ann": {
            "email": "ann@x",
            "first_name": "ann",
            "last_name": "",
            "roles": ["Op", "User"],
            "active": True,
            "password": "set",
        },
        "bob": {
            "email": "bob@x",
            "first_name": "Bob",
            "last_name": "Builder",
            "roles": ["Viewer"],
            "active": False,
            "password": "set",
        },
    }
    for check in (True, False):
        result = call(ANN, bob, check=check)
        assert result["changed"] is True
        assert result["users"]["ann"] == {"action": "created", "fields": []}
        assert result["diff"] == {"before": {}, "after": expected}
        assert bool(release.users()) is not check
    assert release.users() == {
        "ann": ["ann@x", "ann", "", 1, "hash of s3cret-1", ["Op", "User"]],
        "bob": ["bob@x", "Bob", "Builder", 0, "hash of s3cret-2", ["Viewer"]],
    }
    result = call(ANN, bob)
    assert result["changed"] is False and result["diff"] == {"before": {}, "after": {}}


def test_a_password_that_python_writes_in_another_way(release, call):
    release.tables()
    assert call(dict(ANN, password='it\'s "a" pass\\word'))["changed"] is True


def test_reading_does_not_import_airflow(release, call):
    release.tables().user("ann", roles=["User", "Op"])
    release.write("airflow/__init__.py", "raise RuntimeError('imported')")
    assert call(ANN)["changed"] is False
    assert call(ANN, update_password="always", check=True)["changed"] is True


def test_old_releases(release, call):
    release.tables()
    release.old_builder()
    assert call(ANN)["changed"] is True
    assert list(release.users()) == ["ann"]


def test_airflow_1_10(release, call):
    release.builder_1_10()
    ann = dict(ANN, roles=["Op", "User"])
    release.tables()
    assert call(ann)["changed"] is True
    assert release.users()["ann"][-1] == ["Op", "User"]
    assert call(ann)["changed"] is False
    assert call({"username": "ann", "state": "absent"})["changed"] is True


def test_update(release, call):
    release.tables().user("Ann", email="old@x", roles=["User", "Custom"], active=0)
    result = call({"username": "ann", "email": "ann@x", "roles": ["Custom"], "first_name": "A", "last_name": "N"})
    assert result["users"] == {
        "ann": {"action": "updated", "fields": ["active", "email", "first_name", "last_name", "roles"]}
    }
    assert result["diff"]["before"]["Ann"]["roles"] == ["Custom", "User"]
    assert result["diff"]["after"]["Ann"] == {
        "email": "ann@x",
        "first_name": "A",
        "last_name": "N",
        "roles": ["Custom"],
        "active": True,
    }
    assert release.users() == {"Ann": ["ann@x", "A", "N", 1, "hash of pw", ["Custom"]]}


def test_what_is_omitted_stays(release, call):
    release.tables().user("ann", roles=["User"])
    assert call({"username": "ann"})["changed"] is False


def test_update_password(release, call):
    release.tables().user("ann", roles=["User", "Op"])
    assert call(ANN)["changed"] is False
    result = call(ANN, update_password="always")
    assert result["users"]["ann"] == {"action": "updated", "fields": ["password"]}
    assert result["diff"]["after"]["ann"]["password"] == "changed"
    assert "password" not in result["diff"]["before"]["ann"]
    assert release.users()["ann"][4] == "hash of s3cret-1"
    assert call(ANN, update_password="always")["changed"] is False
    release.database.execute("UPDATE ab_user SET password = 'broken'")
    release.database.commit()
    assert call(ANN, update_password="always")["changed"] is True


def test_delete(release, call):
    release.tables().user("Ann", roles=["User"])
    gone = {"username": "ann", "state": "absent"}
    assert call(gone, check=True)["changed"] is True
    result = call(gone, {"username": "never", "state": "absent"})
    assert result["users"]["ann"]["action"] == "deleted" and result["users"]["never"]["action"] == "unchanged"
    assert list(result["diff"]["before"]) == ["Ann"] and result["diff"]["after"] == {}
    assert release.users() == {}


def test_an_email_moves_to_another_user(release, call):
    release.tables().user("old", email="ann@x", roles=["User"])
    result = call(ANN, {"username": "old", "state": "absent"})
    assert result["changed"] is True and list(release.users()) == ["ann"]


def test_an_email_belongs_to_somebody_else(release, call):
    release.tables().user("old", email="ANN@x", roles=["User"])
    assert "the email ann@x of ann belongs to the user old already" in call(ANN)["msg"]
    assert call(ANN, {"username": "old", "email": "new@x"}, check=True)["changed"] is True


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([{"username": "a"}, {"username": "A"}], "A is listed twice"),
        ([{"username": " "}], "a username is empty"),
        ([{"username": "a", "password": ""}], "the password of a is empty"),
        ([{"username": "a", "email": "x@x"}, {"username": "b", "email": "X@x"}], "a and b have the same email"),
        ([{"username": "a"}], "a does not exist yet; to create it, declare its password, email, roles"),
        ([{"username": "a", "email": "x@x", "roles": ["User"]}], "declare its password"),
        ([dict(ANN, roles=["Boss"])], "ann wants the role Boss, which does not exist; there are: Admin, Op, Public"),
    ],
)
def test_bad_declarations(release, call, users, message):
    release.tables()
    for check in (True, False):
        result = call(*users, check=check)
        assert result["failed"] is True and message in result["msg"]
    assert release.users() == {}


def test_a_role_that_airflow_should_have_made(release, call):
    release.tables()
    path = "airflow/providers/fab/auth_manager/cli_commands/utils.py"
    release.write(path, BUILDER.replace('"Op", ', ""))
    result = call(ANN)
    assert "ann: there is no role Op; there are: Admin, Public, User, Viewer" in result["msg"]


@pytest.mark.parametrize(
    ("trouble", "users", "message"),
    [
        ("no create", [ANN], "ann: Airflow could not create the user"),
        ("no update", [dict(ANN, active=False)], "ann: Airflow could not finish the new user"),
        ("no update", [{"username": "eve", "last_name": "N"}], "eve: Airflow could not change the user"),
        ("no password", [{"username": "eve", "password": "s3cret-3"}], "eve: Airflow could not change the password"),
        ("no delete", [{"username": "eve", "state": "absent"}], "eve: Airflow could not delete the user"),
        ("lost update", [{"username": "eve", "last_name": "N"}], "the database does not hold what was written"),
        ("somebody deletes", [{"username": "eve", "last_name": "N"}], "somebody else has just deleted this user"),
        ("boom", [ANN], "internal (RuntimeError: cannot store ********)"),
    ],
)
def test_troubles(release, call, trouble, users, message):
    release.tables().user("eve", roles=["User"])
    release.trouble(trouble)
    result = call(*users, update_password="always")
    assert result["failed"] is True and message in result["msg"]


def test_another_run_does_the_same_at_the_same_moment(release, call):
    release.tables()
    release.trouble("somebody creates")
    assert call(ANN)["changed"] is True


def test_nobody(call):
    result = call()
    assert result["changed"] is False and result["users"] == {}


def everyone_created(result):
    return result["changed"] is True and result["users"]["ann"]["action"] == "created"


def test_no_tables(release, call):
    assert "run dataops.airflow.airflow_db first" in call(ANN)["msg"]
    assert everyone_created(call(ANN, check=True))


def test_no_database(release, call):
    release.config.write_text("[database]\nsql_alchemy_conn = postgresql://airflow:db-secret@localhost/other\n")
    result = call(ANN)
    assert 'database (database "other" does not exist)' in result["msg"] and "airflow_db says more" in result["msg"]
    assert everyone_created(call(ANN, check=True))


def test_no_configuration(release, call):
    release.config.unlink()
    assert "config (" in call(ANN)["msg"]
    assert everyone_created(call(ANN, check=True))


def test_no_release(release, call):
    (release.venv / "bin" / "python").unlink()
    assert "the release is not installed" in call(ANN)["msg"]
    assert everyone_created(call(ANN, check=True))


def test_another_database(release, call):
    release.config.write_text("[database]\nsql_alchemy_conn = sqlite:////tmp/airflow.db\n")
    for check in (True, False):
        assert "dialect" in call(ANN, check=check)["msg"]


def test_the_program_dies(release, call):
    release.tables()
    release.write(
        "airflow/providers/fab/auth_manager/cli_commands/utils.py", "import os\nos.write(2, b'killed')\nos._exit(3)\n"
    )
    result = call(ANN)
    assert result["failed"] is True and "exit code 3" in result["msg"] and "killed" in result["msg"]


def test_the_helper_is_valid_without_a_request():
    assert callable(_users_helper.main)
