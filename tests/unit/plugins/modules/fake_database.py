# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database driver over one JSON file, for the tests of airflow_db.

A test copies this text into the packages of a fake release under the name of a driver. It knows just the statements
that the helper sends; any other is an error. Several processes may use the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import time
import types

STORE = os.environ.get("FAKE_STORE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.json")
if not os.path.exists(STORE):
    STORE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "server.json")
MYSQL = __name__ in ("pymysql", "MySQLdb", "mysql.connector")
MARKER = "dataops_airflow_migration"


class Error(Exception):
    pgcode = None


class OperationalError(Error):
    pass


@contextlib.contextmanager
def store():
    with open(STORE + ".lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        with open(STORE) as stream:
            data = json.load(stream)
        yield data
        with open(STORE + ".new", "w") as stream:
            json.dump(data, stream)
        os.rename(STORE + ".new", STORE)


def fail(problem):
    """Raises as the driver does: MySQL's by number, psycopg's by SQLSTATE or by text alone."""
    if MYSQL:
        raise OperationalError(problem["code"], problem["text"])
    error = OperationalError(problem["text"])
    error.pgcode = problem.get("code")
    raise error


def connect(**arguments):
    with store() as data:
        data["connects"].append({"driver": __name__, "arguments": {k: str(v) for k, v in arguments.items()}})
        data["connections"] += 1
        number = data["connections"]
        refuse = data.get("refuse")
    if refuse and number >= refuse.get("from", 1):
        fail(refuse)
    return Connection(number)


class Connection:
    def __init__(self, number):
        self.number = number
        self.info = types.SimpleNamespace(backend_pid=number)
        # A real socket: the helper sets its options and hands it on.
        self.socket = socket.socket()

    def cursor(self):
        return Cursor(self)

    def close(self):
        self.socket.close()
        with store() as data:
            data["closed"].append(self.number)
            if data["lock"] == self.number:
                data["lock"] = None


class Cursor:
    description = None

    def __init__(self, connection):
        self.connection = connection
        self.result = []

    def close(self):
        pass

    def fetchall(self):
        return self.result

    def execute(self, sql, values=None):
        with store() as data:
            data["log"].append(sql)
            problem = next((item for item in data["deny"] if re.search(item["match"], sql)), None)
            if problem:
                data["denied"] += 1
                if problem.get("times"):
                    problem["times"] -= 1
                    if not problem["times"]:
                        data["deny"].remove(problem)
            else:
                found = answer(data, self.connection, sql, values)
        if problem:
            fail(problem)
        self.result = found or []
        self.description = None if found is None else ["column"]


def take_lock(data, connection):
    """Another run may hold it for a number of tries; what that run did shows when it lets go."""
    if data["lock"] == "other":
        data["tries"] -= 1
        if data["tries"] < 0:
            data["lock"] = None
            data["tables"].update(data["then"])
            for table in data["then_drop"]:
                data["tables"].pop(table, None)
    if data["lock"] in (None, connection.number):
        data["lock"] = connection.number
        return True
    return False


def answer(data, connection, sql, values):
    tables = data["tables"]
    own = data["lock"] == connection.number
    if sql == "SELECT version()":
        return [[data["version"]]]
    if sql.startswith("SELECT VERSION()"):
        return [data["version"]]
    if "FROM pg_class" in sql and "pg_has_role" in sql:
        return data["owners"]
    if "FROM pg_class" in sql or ("SELECT TABLE_NAME FROM information_schema.TABLES" in sql):
        return [[name] for name in tables]
    if sql.startswith("SELECT version_num FROM"):
        return [[revision] for revision in tables[sql.split()[-1]]]
    if "max_connections" in sql:
        return [data.get("limits") or ([100, 3, 0, -1, -1] if "reserved" in sql else [151, 0])]
    if "pg_backend_pid()" in sql and "pg_locks" not in sql and "terminate" not in sql:
        data["asked"] += 1
        return [[{"none": connection.number, "same": 7, "robin": data["asked"] % 2}[data["pooler"]]]]
    if "pg_is_in_recovery" in sql:
        return [[data["standby"], "off"]]
    if "current_schema()" in sql and "has_schema_privilege" in sql:
        return [["public" if data["create"] is not None else None, data["create"]]]
    if "pg_settings" in sql:
        return [[name] for name in values[0] if name != "idle_session_timeout"]
    if sql.startswith("SET "):
        return None
    if "pg_try_advisory_lock" in sql or "GET_LOCK" in sql:
        return [[int(take_lock(data, connection))]]
    if "pg_locks" in sql and "count(*)" in sql:
        return [[int(own)]]
    if sql.endswith("= CONNECTION_ID()") and "IS_USED_LOCK" in sql:
        return [[int(own)]]
    if "pg_locks" in sql:
        return [[4711, "10.0.0.9"]] if data["lock"] is not None else []
    if "IS_USED_LOCK" in sql:
        return [[4711 if data["lock"] is not None else None]]
    if sql == "SHOW GRANTS":
        return [[grant] for grant in data["grants"]]
    if "@@global.read_only" in sql:
        return [[int(data["standby"])]]
    if "pg_terminate_backend" in sql:
        data["orphans"] -= 1
        return [[True]] if data["orphans"] >= 0 else []
    if sql.startswith("SELECT ID FROM information_schema.PROCESSLIST"):
        return [[1]]
    if sql.startswith("SELECT ID, INFO"):
        known = [[1, "ALTER TABLE x"], [2, "SELECT 1"], [3, None]]
        return known + ([[9, "ALTER TABLE y"]] if data["orphans"] else [])
    if sql.startswith("KILL "):
        data["orphans"] = 0
        return None
    if "UPDATE_TIME" in sql:
        return [[name, str(rows)] for name, rows in sorted(tables.items())]
    if "information_schema.COLUMNS" in sql or "information_schema.STATISTICS" in sql:
        return [[name, "altered" in rows] for name, rows in sorted(tables.items())]
    if sql.startswith("CREATE TABLE IF NOT EXISTS " + MARKER):
        tables.setdefault(MARKER, [])
        return None
    if sql.startswith("DELETE FROM " + MARKER):
        tables[MARKER] = []
        return None
    if sql.startswith("INSERT INTO " + MARKER):
        names = re.search(r"\(([^)]*)\) VALUES", sql).group(1).split(", ")
        tables[MARKER] = [dict(zip(names, values))]
        return None
    if sql.startswith("DROP TABLE IF EXISTS " + MARKER):
        tables.pop(MARKER, None)
        return None
    match = re.match(r"SELECT (.*) FROM " + MARKER, sql)
    if match:
        return [[row[name] for name in match.group(1).split(", ")] for row in tables[MARKER]]
    raise AssertionError("unknown statement: " + sql)


# --- the airflow command of the fake release


def migrate(arguments):
    """Does what the test wants the migration to do."""
    with store() as data:
        plan = data["plan"]
        data["ran"].append(arguments)
        data["child"] = {
            "environment": dict(os.environ),
            "sockets": [n for n in os.listdir("/proc/self/fd") if link("/proc/self/fd/" + n).startswith("socket:")],
            "pid": os.getpid(),
            "marked": data["tables"].get(MARKER),
            "locked": data["lock"],
        }
        data["tables"].update(plan.get("tables", {}))
        if plan.get("lose_lock"):
            data["lock"] = plan["lose_lock"]
        data["deny"] += plan.get("deny", [])
    print(plan.get("says", "Database migrating done!"), flush=True)
    if plan.get("stubborn"):
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(plan.get("sleep", 0))
    return plan.get("rc", 0)


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""
