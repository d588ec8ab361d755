# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.
# Runs in the interpreter of the release, as old as Python 3.6: hence no `annotations` future, and only what 3.6 has.

"""Reads and writes the rows of one table of the metadata database, with the plain driver and Airflow's Fernet key.

The modules for connections, variables and pools send this text to the interpreter. It prints one JSON object. It never
imports Airflow: that takes seconds, and Airflow's models do nothing but encrypt and store these rows. Written here, all
rows are one transaction, and one that the Fernet key does not fit can be replaced, which the models cannot even load.
The request's `library` is the text of _db_helper, which finds and opens the database.
"""

import json
import types


def load(text):
    """The text of a module as a module."""
    module = types.ModuleType("library")
    exec(compile(text, "library", "exec"), module.__dict__)
    return module


def schema(config):
    return config.plain("database", "sql_alchemy_schema") or config.plain("core", "sql_alchemy_schema")


class Cipher:
    """Encrypts as Airflow does: with the first key, though any may have encrypted what is there; or not at all."""

    def __init__(self, config, problem):
        self.config = config
        self.problem = problem
        self.loaded = None

    def fernet(self):
        # Loaded only when it is needed: pools have nothing secret.
        if self.loaded is None:
            keys, origin = self.config.sensitive("fernet_key", "core")
            self.loaded = (self.multi(keys, origin) if keys else None,)
        return self.loaded[0]

    def multi(self, keys, origin):
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key.encode("utf-8")) for key in keys.split(",")])
        except (ValueError, TypeError):
            reason = f"{origin} is not a Fernet key, nor several with commas between"
            raise self.problem("fernet_key", reason=reason) from None

    def decrypt(self, token):
        """The text; nothing if no key fits."""
        from cryptography.fernet import InvalidToken

        fernet = self.fernet()
        if fernet is None:
            return None
        try:
            return fernet.decrypt(token.encode("utf-8")).decode("utf-8")
        except (InvalidToken, UnicodeDecodeError):
            return None

    def encrypt(self, text):
        """What to store, and whether that is encrypted."""
        if text is None:
            return None, False
        fernet = self.fernet()
        if fernet is None:
            return text, False
        return fernet.encrypt(text.encode("utf-8")).decode("ascii"), True


def canonical(text):
    """JSON whose order of keys and white space do not matter. What is not JSON is like no JSON."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return None


def compare(cipher, stored, encrypted, wanted):
    """Whether a secret is the wanted one. The secret itself goes nowhere."""
    text = cipher.decrypt(stored) if stored and encrypted else stored or ""
    if wanted["json"]:
        same = text is not None and canonical(text) == canonical(wanted["value"])
    else:
        same = text == wanted["value"]
    return "same" if same else ("other" if stored else "empty")


def read(request, library):
    config = library.Configuration(request["config"])
    server = library.open_database(config)
    try:
        if request["table"] not in server.tables(schema(config)):
            return {"tables": False}
        there = columns_of(server, request["table"])
        lacking = [name for name in request["columns"] if name not in there]
        request["columns"] = [name for name in request["columns"] if name in there]
        cipher = Cipher(config, library.Problem)
        return {"tables": True, "lacking": lacking, "rows": read_rows(request, server, cipher, library.marks)}
    finally:
        server.close()


def columns_of(server, table):
    """The columns that the release's table has: older ones lack some."""
    cursor = server.connection.cursor()
    try:
        cursor.execute("SELECT * FROM {} WHERE 1 = 0".format(*quoted(server, [table])))
        return [column[0] for column in cursor.description]
    finally:
        cursor.close()


def read_rows(request, server, cipher, marks):
    wanted = request["wanted"]
    columns = [request["key"]] + request["columns"]
    secrets = sorted(request["secrets"])
    names = columns + [name for secret in secrets for name in (secret, request["secrets"][secret])]
    found = []
    for row in server.rows(
        "SELECT {} FROM {} WHERE {} IN ({})".format(
            ", ".join(quoted(server, names)),
            *quoted(server, [request["table"], request["key"]]),
            marks(wanted),
        ),
        sorted(wanted),
    ):
        values = dict(zip(names, row))
        # A collation may find others as well.
        if values[request["key"]] not in wanted:
            continue
        record = {name: values[name] for name in columns}
        for secret in secrets:
            sought = wanted[values[request["key"]]].get(secret)
            flag = values[request["secrets"][secret]]
            record[secret] = None if sought is None else compare(cipher, values[secret], flag, sought)
        found.append(record)
    return found


def quoted(server, names):
    """Some names are words of SQL: key, schema."""
    return [server.quote + name + server.quote for name in names]


def write(request, library):
    """Makes all changes, or none."""
    config = library.Configuration(request["config"])
    cipher = Cipher(config, library.Problem)
    server = library.open_database(config)
    table, key = quoted(server, [request["table"], request["key"]])
    try:
        server.rows("BEGIN")
        # Always in the same order: two runs at once must not wait for each other.
        for change in sorted(request["changes"], key=lambda change: change["id"]):
            values = dict(change["values"])
            for secret, flag in request["secrets"].items():
                if secret in values:
                    values[secret], values[flag] = cipher.encrypt(values[secret])
            names = sorted(values)
            row = [values[name] for name in names]
            if change["action"] == "delete":
                server.rows(f"DELETE FROM {table} WHERE {key} = %s", [change["id"]])
            elif change["action"] == "update":
                assignments = ", ".join(f"{name} = %s" for name in quoted(server, names))
                server.rows(f"UPDATE {table} SET {assignments} WHERE {key} = %s", row + [change["id"]])
            else:
                columns = ", ".join([key] + quoted(server, names))
                server.rows(
                    f"INSERT INTO {table} ({columns}) VALUES ({library.marks([key] + names)})", [change["id"]] + row
                )
        server.rows("COMMIT")
    finally:
        # Without the commit, the server takes everything back.
        server.close()
    return {"done": len(request["changes"])}


def main(request):
    library = load(request["library"])
    work = read if request["do"] == "read" else write
    library.answer(lambda: work(request, library), request.get("hide", ()))


if "REQUEST" in globals():
    main(globals()["REQUEST"])
