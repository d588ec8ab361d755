# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A made-up release whose database is one SQLite file, for the tests of what lives in the metadata database."""

from __future__ import annotations

import os
import sqlite3
import sys

DRIVER = """
import os, sqlite3

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "database.db")


class Error(Exception):
    pgcode = None


def connect(**arguments):
    if arguments["dbname"] != "airflow":
        error = Error('database "%s" does not exist' % arguments["dbname"])
        error.pgcode = "3D000"
        raise error
    return Connection()


class Connection:
    def __init__(self):
        self.real = sqlite3.connect(PATH, isolation_level=None)

    def cursor(self):
        return Cursor(self.real.cursor())

    def close(self):
        self.real.close()


class Cursor:
    def __init__(self, real):
        self.real = real

    description = property(lambda self: self.real.description)

    def execute(self, sql, values=()):
        if "pg_class" in sql:
            sql, values = "SELECT name FROM sqlite_master WHERE type = 'table'", ()
        try:
            self.real.execute(sql.replace("%s", "?"), list(values))
        except sqlite3.Error as error:
            raise Error("%s, given %s" % (error, list(values))) from None

    def fetchall(self):
        return self.real.fetchall()

    def close(self):
        self.real.close()
"""


class FakeRelease:
    """Enough of a virtual environment, with a driver that keeps the database in a file."""

    def __init__(self, root):
        version = "python{}.{}".format(*sys.version_info[:2])
        self.venv = root / "venv"
        self.packages = self.venv / "lib" / version / "site-packages"
        (self.venv / "bin").mkdir(parents=True)
        base = os.path.realpath(sys.executable)
        (self.venv / "bin" / "python").symlink_to(base)
        (self.venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\n")
        self.write("psycopg2.py", DRIVER)
        self.write("airflow/__init__.py", "")
        (self.packages / "airflow" / "migrations" / "versions").mkdir(parents=True)
        self.config = root / "airflow.cfg"
        self.config.write_text("[database]\nsql_alchemy_conn = postgresql://airflow:db-secret@localhost/airflow\n")
        self.database = sqlite3.connect(self.packages / "database.db")

    def write(self, name, text):
        path = self.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
