# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules for connections, variables and pools with a release that is made up: its database is one SQLite file."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pwd
import sqlite3
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _objects_helper
from ansible_collections.dataops.airflow.plugins.modules import airflow_connections, airflow_pools, airflow_variables
from cryptography.fernet import Fernet, MultiFernet
from fake_release import FakeRelease

MODULES = {"connections": airflow_connections, "variables": airflow_variables, "pools": airflow_pools}
NAMES = {"connections": "conn_id", "variables": "key", "pools": "name"}
OLD_KEY = Fernet.generate_key().decode()
KEY = Fernet.generate_key().decode()
TABLES = """
CREATE TABLE connection (id INTEGER PRIMARY KEY, conn_id TEXT NOT NULL UNIQUE, conn_type TEXT NOT NULL, host TEXT,
    login TEXT, password TEXT, "schema" TEXT, port INTEGER, description TEXT, extra TEXT, is_encrypted BOOLEAN NOT NULL,
    is_extra_encrypted BOOLEAN NOT NULL);
CREATE TABLE variable (id INTEGER PRIMARY KEY, "key" TEXT UNIQUE, val TEXT NOT NULL, description TEXT,
    is_encrypted BOOLEAN NOT NULL);
CREATE TABLE slot_pool (id INTEGER PRIMARY KEY, pool TEXT UNIQUE, slots INTEGER NOT NULL, description TEXT,
    include_deferred BOOLEAN NOT NULL);
INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('default_pool', 128, 'Default pool', 0);
"""


def encrypted(text, key=KEY):
    return Fernet(key).encrypt(text.encode()).decode()


class Release(FakeRelease):
    def __init__(self, root):
        super().__init__(root)
        self.write("airflow/__init__.py", "raise RuntimeError('imported')")
        # The real one, from this interpreter.
        for name in ("cryptography", "cffi", "_cffi_backend"):
            spec = importlib.util.find_spec(name)
            place = Path(spec.submodule_search_locations[0] if spec.submodule_search_locations else spec.origin)
            (self.packages / place.name).symlink_to(place)
        self.keys(KEY)

    def keys(self, keys):
        self.config.write_text(
            "[database]\nsql_alchemy_conn = postgresql://airflow:db-secret@localhost/airflow\n"
            f"[core]\nfernet_key_cmd = {'echo ' + keys if keys else 'true'}\n"
        )

    def tables(self):
        self.database.executescript(TABLES)
        return self

    def insert(self, table, **values):
        names = ", ".join(f'"{name}"' for name in values)
        self.database.execute(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", list(values.values())
        )
        self.database.commit()

    def rows(self, table, key):
        """All rows by name, with the secrets as the keys decrypt them."""
        self.database.row_factory = sqlite3.Row
        found = {}
        for row in self.database.execute(f"SELECT * FROM {table}"):
            values = dict(row)
            del values["id"]
            for name, flag in (("password", "is_encrypted"), ("extra", "is_extra_encrypted"), ("val", "is_encrypted")):
                if name in values and values.get(flag):
                    keys = MultiFernet([Fernet(KEY), Fernet(OLD_KEY)])
                    values[name] = keys.decrypt(values[name]).decode()
            found[values.pop(key)] = values
        return found

    connections = property(lambda self: self.rows("connection", "conn_id"))
    variables = property(lambda self: self.rows("variable", "key"))
    pools = property(lambda self: self.rows("slot_pool", "pool"))


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path)


@pytest.fixture
def call(release, capsys, monkeypatch):
    """Calls a module, and makes sure that no secret gets out of it: not into the result, and not into the journal."""
    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(msg))

    def run(option, *items, check=False, secrets=(), **more):
        arguments = {
            "venv": str(release.venv),
            "home": "/tmp",
            "config": str(release.config),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            option: list(items),
            "_ansible_check_mode": check,
        }
        arguments.update(more)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            MODULES[option].main()
        output = capsys.readouterr().out
        for secret in ("db-secret", KEY, "gAAAAA", *secrets):
            for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
                assert form not in output
                assert form not in "".join(logged)
        result = json.loads(output)
        assert result.get("failed") or set(result) >= {"changed", "diff", option}
        return result

    return run


def actions(result, option):
    return {name: (done["action"], done["fields"]) for name, done in result[option].items()}


OLD_TABLES = """
CREATE TABLE connection (id INTEGER PRIMARY KEY, conn_id TEXT, conn_type TEXT, host TEXT, login TEXT, password TEXT,
    "schema" TEXT, port INTEGER, extra TEXT, is_encrypted BOOLEAN, is_extra_encrypted BOOLEAN);
CREATE TABLE variable (id INTEGER PRIMARY KEY, "key" TEXT UNIQUE, val TEXT, is_encrypted BOOLEAN);
CREATE TABLE slot_pool (id INTEGER PRIMARY KEY, pool TEXT UNIQUE, slots INTEGER, description TEXT);
"""


@pytest.mark.parametrize(
    ("option", "item", "lacking"),
    [
        ("connections", {"conn_id": "a", "conn_type": "http", "password": "p"}, {"description": "d"}),
        ("variables", {"key": "a", "value": "v"}, {"description": "d"}),
        ("pools", {"name": "a", "slots": 1, "description": "d"}, {"include_deferred": True}),
    ],
)
def test_a_release_whose_tables_lack_a_column(release, call, option, item, lacking, monkeypatch):
    """As those of Airflow 1.10."""
    release.database.executescript(OLD_TABLES)
    # Where the controller's code is loaded too, a warning goes to its display instead of the result.
    warnings = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text, **_more: warnings.append(text))
    result = call(option, dict(item, **lacking))
    assert actions(result, option) == {"a": ("created", [])}
    warning = f"{option}: this release has no {next(iter(lacking))}: that of a is left out"
    assert warnings == [warning]
    assert call(option, dict(item, **lacking))["changed"] is False
    assert call(option, {NAMES[option]: "a", "state": "absent"})["changed"] is True


# --- pools


def test_pools(release, call):
    release.tables()
    wanted = [
        {"name": "api", "slots": 4, "description": "At once", "include_deferred": True},
        {"name": "free", "slots": -1},
        {"name": "default_pool", "slots": 16},
        {"name": "never", "state": "absent"},
    ]
    for check in (True, False):
        result = call("pools", *wanted, check=check)
        assert actions(result, "pools") == {
            "api": ("created", []),
            "free": ("created", []),
            "default_pool": ("updated", ["slots"]),
            "never": ("unchanged", []),
        }
        assert result["diff"] == {
            "before": {"default_pool": {"slots": 128, "description": "Default pool", "include_deferred": False}},
            "after": {
                "api": {"slots": 4, "description": "At once", "include_deferred": True},
                "free": {"slots": -1, "description": "", "include_deferred": False},
                "default_pool": {"slots": 16, "description": "Default pool", "include_deferred": False},
            },
        }
        assert ("api" in release.pools) is not check
    assert release.pools == {
        "default_pool": {"slots": 16, "description": "Default pool", "include_deferred": 0},
        "api": {"slots": 4, "description": "At once", "include_deferred": 1},
        "free": {"slots": -1, "description": None, "include_deferred": 0},
    }
    assert call("pools", *wanted)["changed"] is False
    result = call("pools", {"name": "api", "state": "absent"})
    assert result["diff"]["after"] == {} and "api" in result["diff"]["before"]
    assert set(release.pools) == {"default_pool", "free"}


def test_pools_need_no_key(release, call):
    release.tables().keys("nonsense")
    assert call("pools", {"name": "api", "slots": 1})["changed"] is True


# --- variables


def test_variables(release, call):
    release.tables()
    secret = 'it\'s "a" se\\cret\nof two lines'
    wanted = [
        {"key": "token", "value": secret, "description": "Of the service"},
        {"key": "places", "value": {"b": [1, "inner-secret"], "a": None}},
        {"key": "on", "value": True},
        {"key": "number", "value": 5},
        {"key": "empty", "value": ""},
        {"key": "word", "value": "created"},
    ]
    secrets = [secret, "inner-secret"]
    for check in (True, False):
        result = call("variables", *wanted, check=check, secrets=secrets)
        assert actions(result, "variables") == {item["key"]: ("created", []) for item in wanted}
        assert result["diff"]["after"]["token"] == {"description": "Of the service", "value": "set"}
        assert bool(release.variables) is not check
    assert {key: row["val"] for key, row in release.variables.items()} == {
        "token": secret,
        "places": json.dumps({"b": [1, "inner-secret"], "a": None}, indent=2),
        "on": "true",
        "number": "5",
        "empty": "",
        "word": "created",
    }
    assert all(row["is_encrypted"] for row in release.variables.values())
    assert call("variables", *wanted)["changed"] is False
    result = call("variables", {"key": "token", "value": "another-one"}, secrets=[*secrets, "another-one"])
    assert actions(result, "variables") == {"token": ("updated", ["value"])}
    assert result["diff"] == {
        "before": {"token": {"description": "Of the service"}},
        "after": {"token": {"description": "Of the service", "value": "changed"}},
    }
    assert actions(call("variables", {"key": "token", "description": ""}), "variables")["token"][1] == ["description"]
    assert release.variables["token"] == {"val": "another-one", "description": None, "is_encrypted": 1}
    assert call("variables", {"key": "token", "state": "absent", "value": "x"})["changed"] is True
    assert "token" not in release.variables


def test_json_is_compared_as_json(release, call):
    release.tables().insert("variable", key="v", val=encrypted('{"b": 1,"a": [2]}'), is_encrypted=True)
    assert call("variables", {"key": "v", "value": {"a": [2], "b": 1}})["changed"] is False
    assert call("variables", {"key": "v", "value": {"a": [2], "b": 2}}, check=True)["changed"] is True
    assert call("variables", {"key": "v", "value": {"a": [2], "b": True}}, check=True)["changed"] is True
    # A text is what it is.
    assert call("variables", {"key": "v", "value": '{"a": [2], "b": 1}'}, check=True)["changed"] is True


# --- keys


def test_a_value_of_an_older_key_is_left_as_it_is(release, call):
    release.tables().insert("variable", key="v", val=encrypted("value", OLD_KEY), is_encrypted=True)
    release.keys(f"{KEY},{OLD_KEY}")
    assert call("variables", {"key": "v", "value": "value"})["changed"] is False


def test_a_value_of_a_lost_key_is_written_again(release, call):
    release.tables()
    lost = Fernet.generate_key().decode()
    release.insert("variable", key="v", val=encrypted("value", lost), is_encrypted=True)
    release.insert(
        "connection",
        **{"conn_id": "c", "conn_type": "http", "password": encrypted("secret", lost), "is_encrypted": True},
        **{"extra": encrypted("{}", lost), "is_extra_encrypted": True},
    )
    assert call("connections", {"conn_id": "c", "conn_type": "http"})["changed"] is False
    result = call("connections", {"conn_id": "c", "password": "secret", "extra": {}})
    assert actions(result, "connections") == {"c": ("updated", ["extra", "password"])}
    assert actions(call("variables", {"key": "v", "value": "value"}), "variables") == {"v": ("updated", ["value"])}
    assert release.variables["v"]["val"] == "value" and release.connections["c"]["password"] == "secret"


def test_without_a_key_nothing_is_encrypted(release, call):
    release.tables().keys("")
    release.insert("variable", key="old", val=encrypted("value"), is_encrypted=True)
    release.insert("variable", key="plain", val="value", is_encrypted=False)
    items = [{"key": key, "value": "value"} for key in ("old", "plain", "new")]
    result = call("variables", *items)
    assert [result["variables"][key]["action"] for key in ("old", "plain", "new")] == [
        "updated",
        "unchanged",
        "created",
    ]
    assert {(row["val"], row["is_encrypted"]) for row in release.variables.values()} == {("value", 0)}
    # With a key, what was stored without one still is the same.
    release.keys(KEY)
    assert call("variables", *items)["changed"] is False


def test_a_key_that_is_none(release, call):
    release.tables().keys("nonsense")
    release.insert("variable", key="v", val=encrypted("value"), is_encrypted=True)
    for check in (True, False):
        message = call("variables", {"key": "v", "value": "value"}, check=check)["msg"]
        assert "fernet_key ([core] fernet_key_cmd of " in message and "is not a Fernet key" in message
    message = call("variables", {"key": "w", "value": "value"})["msg"]
    assert message.startswith("variables: fernet_key (")


# --- connections


def test_connections(release, call):
    release.tables()
    secret = "p'a\"s\\s\nword"
    wanted = [
        {
            "conn_id": "db",
            "conn_type": "postgres",
            "host": "db1",
            "login": "me",
            "password": secret,
            "schema": "facts",
            "port": 5432,
            "extra": {"sslmode": "verify-full", "token": "inner-secret"},
            "description": "The warehouse",
        },
        {"conn_id": "cloud", "conn_type": "google-cloud-platform", "extra": '{"key":  "inner-secret"}'},
        {"conn_id": "web", "uri": "https://me:uri%2Fsecret@h:8443/x?token=inner-secret"},
    ]
    secrets = [secret, "inner-secret", "uri/secret", "uri%2Fsecret"]
    for check in (True, False):
        result = call("connections", *wanted, check=check, secrets=secrets)
        assert actions(result, "connections") == {item["conn_id"]: ("created", []) for item in wanted}
        assert result["diff"]["before"] == {}
        assert result["diff"]["after"]["db"] == {
            "conn_type": "postgres",
            "host": "db1",
            "login": "me",
            "schema": "facts",
            "port": 5432,
            "description": "The warehouse",
            "password": "set",
            "extra": "set",
        }
        assert "password" not in result["diff"]["after"]["cloud"]
        assert result["diff"]["after"]["web"]["host"] == "h"
        assert bool(release.connections) is not check
    found = release.connections
    assert found["db"] == {
        "conn_type": "postgres",
        "host": "db1",
        "login": "me",
        "password": secret,
        "schema": "facts",
        "port": 5432,
        "description": "The warehouse",
        "extra": '{"sslmode": "verify-full", "token": "inner-secret"}',
        "is_encrypted": 1,
        "is_extra_encrypted": 1,
    }
    assert found["cloud"]["conn_type"] == "google_cloud_platform"
    assert (found["cloud"]["password"], found["cloud"]["is_encrypted"], found["cloud"]["port"]) == (None, 0, None)
    assert (found["web"]["password"], found["web"]["extra"]) == ("uri/secret", '{"token": "inner-secret"}')
    assert call("connections", *wanted)["changed"] is False

    secrets.append("newer-secret")
    result = call("connections", {"conn_id": "db", "host": "db2", "password": "newer-secret"}, secrets=secrets)
    assert actions(result, "connections") == {"db": ("updated", ["host", "password"])}
    assert result["diff"]["before"]["db"]["host"] == "db1" and "password" not in result["diff"]["before"]["db"]
    assert (result["diff"]["after"]["db"]["host"], result["diff"]["after"]["db"]["password"]) == ("db2", "changed")
    assert release.connections["db"] == dict(found["db"], host="db2", password="newer-secret")
    assert call("connections", {"conn_id": "db"})["changed"] is False

    result = call("connections", {"conn_id": "db", "password": "", "extra": "", "host": "", "port": 0})
    assert result["diff"]["after"]["db"]["password"] == "removed" and result["diff"]["after"]["db"]["port"] is None
    row = release.connections["db"]
    assert [row[name] for name in ("password", "extra", "host", "port")] == [None] * 4
    assert (row["is_encrypted"], row["is_extra_encrypted"]) == (0, 0)
    result = call("connections", {"conn_id": "db", "password": "newer-secret"}, secrets=secrets)
    assert result["diff"]["after"]["db"]["password"] == "set"

    assert call("connections", {"conn_id": "web", "state": "absent"})["changed"] is True
    assert set(release.connections) == {"db", "cloud"}


def test_a_uri_says_all_but_the_description(release, call):
    release.tables()
    call("connections", {"conn_id": "c", "uri": "ssh://me:secret@h:22/s?a=1", "description": "Mine"})
    result = call("connections", {"conn_id": "c", "uri": "ssh://h"})
    assert actions(result, "connections")["c"][1] == ["extra", "login", "password", "port", "schema"]
    row = release.connections["c"]
    assert {name for name, value in row.items() if value} == {"conn_type", "host", "description"}


def test_extra_is_compared_as_json(release, call):
    release.tables().insert(
        "connection",
        **{"conn_id": "c", "conn_type": "http", "is_encrypted": False, "is_extra_encrypted": True},
        extra=encrypted('{"b":1, "a":2}'),
    )
    for extra in ({"a": 2, "b": 1}, '{"a": 2,\n "b": 1}'):
        assert call("connections", {"conn_id": "c", "extra": extra})["changed"] is False
    release.database.execute("UPDATE connection SET extra = 'no json', is_extra_encrypted = 0")
    release.database.commit()
    assert call("connections", {"conn_id": "c", "extra": {"a": 2}})["changed"] is True


def test_parts_of_uris():
    def parts(uri):
        found = airflow_connections.parse_uri(uri)
        return {name: value for name, value in found.items() if value}

    assert parts("postgresql://u%40:p%2F@h:5/s%20s?a=1&b=x&c=") == {
        "conn_type": "postgresql",
        "login": "u@",
        "password": "p/",
        "host": "h",
        "port": 5,
        "schema": "s s",
        "extra": {"a": 1, "b": "x", "c": ""},
    }
    assert parts("my-type://?__extra__=%7B%22a%22%3A+%7B%7D%7D") == {"conn_type": "my-type", "extra": '{"a": {}}'}
    assert parts("http://https://host/x") == {"conn_type": "http", "host": "https://host", "schema": "x"}
    assert parts("mysql://u@%2FTmp%2FSocket/db")["host"] == "/Tmp/Socket"


# --- refused before anything is done


@pytest.mark.parametrize(
    ("option", "items", "message"),
    [
        ("pools", [{"name": "a", "slots": 1}, {"name": "a", "slots": 2}], "pools: a is listed twice"),
        ("pools", [{"name": " "}], "pools: a name is empty"),
        ("pools", [{"name": "a "}], "pools: a : there is white space around the name"),
        ("pools", [{"name": "a" * 257}], "the name has 257 characters, and may have 256"),
        ("pools", [{"name": "a", "slots": -2}], "pools: a: slots is -2; it has to be 0 or more, or -1"),
        ("pools", [{"name": "a"}], "pools: a: it does not exist yet; to create it, declare its slots"),
        ("pools", [{"name": "default_pool", "state": "absent"}], "pools: default_pool: it cannot be removed"),
        ("variables", [{"key": "a", "value": "1"}, {"key": "a", "state": "absent"}], "variables: a is listed twice"),
        ("variables", [{"key": ""}], "variables: a key is empty"),
        ("variables", [{"key": "a" * 251}], "the name has 251 characters, and may have 250"),
        ("variables", [{"key": "a"}], "variables: a: it does not exist yet; to create it, declare its value"),
        ("connections", [{"conn_id": "a b"}], "connections: a b: the name may have letters, digits and"),
        (
            "connections",
            [{"conn_id": "a"}],
            "connections: a: it does not exist yet; to create it, declare its conn_type",
        ),
        ("connections", [{"conn_id": "a", "conn_type": ""}], "connections: a: conn_type is empty"),
        ("connections", [{"conn_id": "a", "conn_type": "b", "port": 70000}], "port is 70000; it has to be between"),
        (
            "connections",
            [{"conn_id": "a", "uri": "http://s3cret@h", "host": "h", "extra": {"x": "s3cret"}}],
            "connections: a: uri says all, so it cannot be together with host, extra",
        ),
        ("connections", [{"conn_id": "a", "uri": "s3cret"}], "connections: a: uri: it is not of the form type://"),
        ("connections", [{"conn_id": "a", "uri": "a_b://s3cret"}], "uri: it does not begin with a type"),
        ("connections", [{"conn_id": "a", "uri": "http://u:p/s3cret@h"}], "uri: its host or port is not valid"),
        ("connections", [{"conn_id": "a", "uri": "http://[s3cret"}], "uri: its host or port is not valid"),
        ("connections", [{"conn_id": "a", "uri": "http://u:s3cret@https://h"}], "there can only be a protocol"),
        ("connections", [{"conn_id": "a", "uri": "http://h/?__extra__=s3cret"}], "a: extra is not a dictionary"),
        ("connections", [{"conn_id": "a", "conn_type": "b", "extra": "{s3cret"}], "a: extra is not a dictionary"),
        ("connections", [{"conn_id": "a", "conn_type": "b", "extra": ["s3cret"]}], "a: extra is not a dictionary"),
    ],
)
def test_bad_declarations(release, call, option, items, message):
    release.tables()
    before = (release.pools, release.variables, release.connections)
    for check in (True, False):
        result = call(option, *items, check=check, secrets=["s3cret"])
        assert result["failed"] is True and message in result["msg"]
    assert (release.pools, release.variables, release.connections) == before


def test_a_wrong_type_shows_no_secret(release, call):
    secret = "two\nlines of se\\cret"
    connection = {"conn_id": "c", "password": secret, "extra": {"a": secret}, "uri": secret, "port": "none"}
    assert call("connections", connection, secrets=[secret])["failed"] is True
    assert call("variables", {"key": "v", "value": secret, "unknown": 1}, secrets=[secret])["failed"] is True


# --- troubles


def test_all_or_nothing(release, call):
    release.tables()
    release.database.executescript(
        "CREATE TRIGGER full BEFORE INSERT ON variable WHEN NEW.key = 'b' BEGIN SELECT RAISE(ABORT, 'disk full'); END;"
    )
    release.keys("")
    items = [{"key": key, "value": "s3cret-value"} for key in ("a", "b", "c")]
    result = call("variables", *items, secrets=["s3cret-value"])
    assert result["failed"] is True and result["changed"] is False
    # The driver's text quotes what it was given.
    assert "variables: query (disk full, given ['b', None, False, '********'])" in result["msg"]
    assert release.variables == {}


def test_what_was_written_is_not_there(release, call):
    release.tables()
    release.database.executescript(
        "CREATE TRIGGER gone AFTER INSERT ON slot_pool BEGIN DELETE FROM slot_pool WHERE pool = NEW.pool; END;"
    )
    assert "the database does not hold what was written" in call("pools", {"name": "a", "slots": 1})["msg"]


def test_another_run_does_the_same_at_the_same_moment(release, call, monkeypatch):
    release.tables()
    original = airflow_pools.Pools.apply

    def late(self, changes):
        release.insert("slot_pool", pool="a", slots=1, include_deferred=False)
        return original(self, changes)

    monkeypatch.setattr(airflow_pools.Pools, "apply", late)
    assert call("pools", {"name": "a", "slots": 1})["changed"] is True


SAMPLES = [
    ("connections", {"conn_id": "x", "conn_type": "http", "password": "s3cret"}),
    ("variables", {"key": "x", "value": "s3cret"}),
    ("pools", {"name": "x", "slots": 1}),
]


@pytest.mark.parametrize(("option", "item"), SAMPLES)
def test_what_is_not_there_yet(release, call, option, item):
    def created(result):
        return result["changed"] is True and actions(result, option) == {"x": ("created", [])}

    assert "has no table" in call(option, item)["msg"]
    assert created(call(option, item, check=True))
    text = release.config.read_text()
    release.config.write_text(text.replace("/airflow\n", "/other\n"))
    assert "airflow_db says more" in call(option, item)["msg"]
    assert created(call(option, item, check=True))
    release.config.write_text(text.replace("postgresql:", "sqlite:"))
    for check in (True, False):
        assert "dialect" in call(option, item, check=check)["msg"]
    release.config.unlink()
    assert "config (" in call(option, item)["msg"]
    assert created(call(option, item, check=True))
    (release.venv / "bin" / "python").unlink()
    assert "the release is not installed" in call(option, item)["msg"]
    assert created(call(option, item, check=True))


@pytest.mark.parametrize("option", MODULES)
def test_nothing_declared(call, option):
    result = call(option)
    assert result["changed"] is False and result[option] == {}


@pytest.mark.parametrize(("option", "item"), SAMPLES)
def test_what_the_invocation_says(release, call, option, item):
    release.tables()
    shown = call(option, item, secrets=["s3cret"])["invocation"]["module_args"]
    assert shown["config"] == str(release.config) and shown[option][0][NAMES[option]] == "x"


def test_the_helper_is_valid_without_a_request():
    assert callable(_objects_helper.main)
