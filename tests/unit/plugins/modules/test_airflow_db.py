# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""airflow_db from its arguments to its result. Only the database driver and the airflow command are fakes."""

from __future__ import annotations

import ast
import inspect
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.module_utils import _db_helper, _revisions
from ansible_collections.dataops.airflow.plugins.modules import airflow_db
from refusals import refused

HERE = Path(__file__).resolve().parent
CORE_210, CORE_32, CORE_33 = "5f2621c13b39", "1d6611b6ab7c", "d2f4e1b3c5a7"
FAB_OLD, FAB_NEW = "6709f7a774b9", "02ca36b0235b"
MARKER = _db_helper.MARKER
PASSWORD = "s3cr@t/%$"
QUOTED = "s3cr%40t%2F%25%24"
AT_HEAD = {"alembic_version": [CORE_33], "alembic_version_fab": [FAB_NEW], "dag_run": [], "ab_user": []}
BEHIND = {"alembic_version": [CORE_32], "alembic_version_fab": [FAB_NEW], "dag_run": [], "ab_user": []}
NOTE = {
    "id": 1,
    "started": "2026-11-22T01:02:03Z",
    "host": "master1",
    "state": "behind",
    "revision_from": CORE_32,
    "revision_to": CORE_33,
}
POSTGRESQL_TEXTS = {
    "password": 'FATAL:  password authentication failed for user "af"',
    "access": 'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "af", database "airflow", SSL off',
    "database": 'FATAL:  database "airflow" does not exist',
    "slots": "FATAL:  sorry, too many clients already",
}


class Release:
    """A fake release, its configuration and its database."""

    def __init__(self, folder):
        self.folder = folder
        self.venv = folder / "venv"
        self.site = self.venv / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages"
        (self.venv / "bin").mkdir(parents=True)
        self.site.mkdir(parents=True)
        base = getattr(sys, "_base_executable", None) or sys.executable
        (self.venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\n")
        (self.venv / "bin" / "python").symlink_to(base)
        self.versions(self.package("airflow/migrations"), [("a", None, CORE_210), ("b", CORE_210, CORE_32)])
        self.versions("airflow/migrations", [("c", CORE_32, CORE_33)])
        self.file("airflow/utils/db_manager.py", "from airflow.providers_manager import ProvidersManager\n")
        self.file(
            "airflow/providers/fab/get_provider_info.py",
            """
            return {"db-managers": ["airflow.providers.fab.auth_manager.models.db.FABDBManager"]}""",
        )
        self.file(
            "airflow/providers/fab/auth_manager/models/db.py",
            """
            class FABDBManager(BaseDBManager):
                version_table_name = "alembic_version_fab"
            """,
        )
        self.versions("airflow/providers/fab/migrations", [("a", None, FAB_OLD), ("b", FAB_OLD, FAB_NEW)])
        (self.site / "apache_airflow_core-3.3.2.dist-info").mkdir()
        for driver in ("psycopg2", "psycopg", "pymysql", "MySQLdb", "mysql/connector"):
            path = self.site / (driver + ".py")
            path.parent.mkdir(exist_ok=True)
            shutil.copy(HERE / "fake_database.py", path)
        # As in any virtual environment, but the real Airflow must not be what answers here.
        self.program(f"""
            import sys
            sys.path.insert(0, {str(self.site)!r})
            import psycopg2
            sys.exit(psycopg2.migrate(sys.argv[1:]))
            """)
        self.home = folder / "home"
        self.home.mkdir()
        self.config = folder / "airflow.cfg"
        self.connection(f"postgresql+psycopg2://af:{QUOTED}@127.0.0.1/airflow")
        self.store = self.site / "server.json"
        self.server(
            version="PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu", tables={}, log=[], connects=[],
            connections=0, closed=[], deny=[], denied=0, lock=None, tries=0, then={}, then_drop=[], owners=[], asked=0,
            pooler="none", standby=False, create=True, orphans=0, ran=[], plan={"tables": AT_HEAD},
            grants=["GRANT USAGE ON *.* TO `af`@`%` IDENTIFIED BY PASSWORD '*AB'",
                    r"GRANT ALL PRIVILEGES ON `air\_flow%`.* TO `af`@`%`", "GRANT SELECT ON `airflow`.`x` TO `af`@`%`"],
        )  # fmt: skip

    def package(self, name):
        (self.site / name / "versions").mkdir(parents=True)
        return name

    def versions(self, folder, revisions):
        for name, down, revision in revisions:
            self.file(f"{folder}/versions/{name}.py", f"revision = {revision!r}\ndown_revision = {down!r}\n")

    def file(self, name, text):
        path = self.site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def program(self, text):
        path = self.venv / "bin" / "airflow"
        lines = text.strip("\n").split("\n")
        margin = len(lines[0]) - len(lines[0].lstrip())
        path.write_text(f"#!{sys.executable}\n" + "\n".join(line[margin:] for line in lines) + "\n")
        path.chmod(0o755)

    def connection(self, url, name="sql_alchemy_conn_cmd", section="database", more=""):
        if name.endswith("_cmd"):
            secret = self.folder / "connection"
            secret.write_text(url)
            url = f"cat {secret}"
        self.config.write_text(f"[{section}]\n{name} = {url}\n{more}")

    def mysql(self, driver="pymysql", database="air_flow1"):
        self.connection(f"mysql+{driver}://af:{QUOTED}@127.0.0.1/{database}".replace("+None", ""))
        self.server(version=["8.0.36", "MySQL Community Server"])

    def server(self, **changes):
        data = self.read() if self.store.exists() else {}
        data.update(changes)
        self.store.write_text(json.dumps(data))

    def read(self):
        return json.loads(self.store.read_text())

    @property
    def tables(self):
        return self.read()["tables"]

    def wrote(self):
        return [sql for sql in self.read()["log"] if sql.split()[0] in ("CREATE", "INSERT", "DELETE", "DROP", "ALTER")]

    def arguments(self, **options):
        return dict(
            {
                "venv": str(self.venv),
                "home": str(self.home),
                "config": str(self.config),
                "user": pwd.getpwuid(os.geteuid()).pw_name,
            },
            **options,
        )

    def run(self, check=False, **options):
        """The module's result."""
        arguments = dict(self.arguments(**options), _ansible_check_mode=check, _ansible_diff=True)
        outcome = {}

        def keep(_module, **result):
            outcome.update(result)
            raise SystemExit

        with pytest.MonkeyPatch.context() as patch, patch_module_args(arguments):
            patch.setattr(basic.AnsibleModule, "exit_json", keep)
            patch.setattr(basic.AnsibleModule, "fail_json", lambda module, **r: keep(module, failed=True, **r))
            patch.setattr(basic.AnsibleModule, "warn", lambda _m, text: outcome.setdefault("warnings", []).append(text))
            with pytest.raises(SystemExit):
                airflow_db.main()
        for secret in (PASSWORD, QUOTED, "s3cr"):
            assert secret not in json.dumps(outcome)
        return outcome

    def fails(self, *words, **options):
        """The message of a run that fails; it has to contain `words`."""
        result = self.run(**options)
        assert result.get("failed"), result
        for word in words:
            assert word in result["msg"], result["msg"]
        return result["msg"]


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- states


def test_current(release):
    release.server(tables=AT_HEAD)
    result = release.run()
    assert (result["changed"], result["state"], result["migrated"], result["waited"]) == (
        False,
        "current",
    ) + (False,) * 2
    assert result["before"] == result["after"] == {"alembic_version": CORE_33, "alembic_version_fab": FAB_NEW}
    assert result["server"] == {"product": "postgresql", "version": "15.18"}
    assert result["limit"] == {"allowed": 97, "limit": "max_connections 100 - superuser_reserved_connections 3"}
    assert result["diff"]["before"] == result["diff"]["after"] == f"airflow: {CORE_33}\nfab: {FAB_NEW}\n"
    # Nothing but reading, on one connection.
    assert len(release.read()["connects"]) == 1
    assert not [sql for sql in release.read()["log"] if not sql.startswith("SELECT")]
    assert not release.read()["ran"]


def test_empty(release):
    result = release.run()
    assert (result["changed"], result["state"], result["migrated"]) == (True, "empty", True)
    assert result["before"] == {"alembic_version": None, "alembic_version_fab": None}
    assert result["after"] == {"alembic_version": CORE_33, "alembic_version_fab": FAB_NEW}
    assert result["diff"] == {"before": "airflow: none\nfab: none\n", "after": f"airflow: {CORE_33}\nfab: {FAB_NEW}\n"}
    assert release.read()["ran"] == [["db", "migrate"]]
    assert MARKER not in release.tables
    assert not release.run()["changed"]


def test_celery_results_in_an_empty_database(release):
    release.server(tables={"celery_taskmeta": [], "celery_tasksetmeta": []})
    assert release.run()["state"] == "empty"


def test_behind(release):
    release.server(tables=BEHIND)
    result = release.run()
    assert (result["changed"], result["state"]) == (True, "behind")
    assert result["before"]["alembic_version"] == CORE_32


def test_provider_behind(release):
    release.server(tables=dict(AT_HEAD, alembic_version_fab=[FAB_OLD]))
    assert release.run()["state"] == "behind"
    tables = dict(AT_HEAD)
    del tables["alembic_version_fab"]
    release.server(tables=tables)
    assert release.run()["before"] == {"alembic_version": CORE_33, "alembic_version_fab": None}


@pytest.mark.parametrize("tables", [{}, BEHIND, dict(AT_HEAD, **{MARKER: [NOTE]})])
def test_check_mode_writes_nothing(release, tables):
    release.server(tables=tables)
    result = release.run(check=True)
    assert result["changed"] and not result["migrated"]
    assert result["after"] == {"alembic_version": CORE_33, "alembic_version_fab": FAB_NEW}
    assert result["diff"]["before"] != result["diff"]["after"]
    assert release.wrote() == []
    assert not [sql for sql in release.read()["log"] if "LOCK" in sql.upper() and "pg_locks" not in sql]
    assert not release.read()["ran"]
    assert release.tables == tables


@pytest.mark.parametrize("missing", ["the release", "any configuration"])
def test_check_mode_on_a_host_that_is_not_prepared_yet(release, missing):
    if missing == "the release":
        (release.venv / "bin" / "python").unlink()
    release.config.unlink()
    result = release.run(check=True)
    assert result["changed"] and result["state"] == "unknown"


def test_check_mode_on_a_busy_database(release):
    release.server(tables={"dag_run": []}, lock="other", tries=99)
    result = release.run(check=True)
    assert result["state"] == "empty" and result["changed"]
    assert result["warnings"] == ["Another run migrates this database right now"]


def test_command(release):
    release.run(command=["initdb"])
    assert release.read()["ran"] == [["initdb"]]


# --- what the release wants


def test_airflow_2_has_one_history(release):
    (release.site / "airflow/utils/db_manager.py").unlink()
    release.server(tables={"alembic_version": [CORE_33], "dag_run": []})
    assert release.run()["before"] == {"alembic_version": CORE_33}


def test_airflow_30_asks_the_configuration(release):
    release.file("airflow/utils/db_manager.py", "conf.get('database', 'external_db_managers')\n")
    release.server(tables={"alembic_version": [CORE_33], "dag_run": []})
    assert release.run()["before"] == {"alembic_version": CORE_33}
    text = release.config.read_text()
    manager = "airflow.providers.fab.auth_manager.models.db.FABDBManager"
    release.config.write_text(f"{text}external_db_managers = {manager}\n")
    assert set(release.run()["before"]) == {"alembic_version", "alembic_version_fab"}
    release.file("airflow/providers/fab/auth.py", f'def get_db_manager(self) -> str:\n    return "{manager}"\n')
    release.config.write_text(f"{text}[core]\nauth_manager = airflow.providers.fab.auth.FabAuthManager\n")
    assert set(release.run(check=True)["before"]) == {"alembic_version", "alembic_version_fab"}


def test_unknown_manager_is_warned_of(release):
    release.server(tables=AT_HEAD)
    release.connection("postgresql://af@127.0.0.1/airflow", more="external_db_managers = own.manager.Manager\n")
    assert "own.manager.Manager is not compared" in release.run()["warnings"][0]
    # Its own package, but no migration files.
    release.file("own/manager.py", 'version_table_name = "own_version"\n')
    assert "own.manager.Manager is not compared" in release.run()["warnings"][0]


def test_provider_families_and_packages(release):
    info = '{"db-managers": ["airflow.providers.family.member.db.Manager"]}'
    release.file("airflow/providers/family/member/get_provider_info.py", info)
    release.file(
        "airflow/providers/family/member/db/__init__.py", 'version_table_name: str = "alembic_version_member"\n'
    )
    release.versions("airflow/providers/family/member/migrations", [("a", None, "abc1"), ("b", ("abc1",), "abc2")])
    release.server(tables=dict(AT_HEAD, alembic_version_member=["abc1"]))
    result = release.run(check=True)
    assert result["before"]["alembic_version_member"] == "abc1"
    assert result["after"]["alembic_version_member"] == "abc2"


def test_no_release(release):
    shutil.rmtree(release.site / "airflow" / "migrations")
    release.fails("There is no Airflow in the packages of", "Install the release first")
    (release.venv / "bin" / "python").unlink()
    release.fails("the release is not installed on this host")


def test_no_airflow_command(release):
    (release.venv / "bin" / "airflow").unlink()
    release.fails("airflow db migrate failed with exit code 127", "No such file")


# --- the configuration


@pytest.mark.parametrize("name", ["sql_alchemy_conn", "sql_alchemy_conn_cmd"])
@pytest.mark.parametrize("section", ["database", "core"])
def test_where_the_connection_is_set(release, name, section):
    url = f"postgresql://af:{QUOTED}@127.0.0.1/airflow"
    release.connection(url.replace("%", "%%") if name == "sql_alchemy_conn" else url, name=name, section=section)
    release.server(tables=AT_HEAD)
    assert release.run()["state"] == "current"
    assert release.read()["connects"][0]["arguments"]["password"] == PASSWORD


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://af@$DB_HOST/airflow", "DB_HOST": "h"}, "h"),
        ({"AIRFLOW__CORE__SQL_ALCHEMY_CONN": "postgresql://af@h/airflow"}, "h"),
        ({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "printf %s postgresql://af@h/airflow"}, "h"),
    ],
)
def test_environment_before_file(release, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text, _origin = _db_helper.Configuration(str(release.config)).connection()
    assert _db_helper.parse_url(text, "x")["host"] == expected


def test_configuration_problems(release):
    release.config.write_text("[database]\n")
    release.fails("sets no [database] sql_alchemy_conn, plain or as _cmd")
    release.config.write_text("s3cr without section\n")
    release.fails("it is not a valid configuration file (MissingSectionHeaderError)")
    release.config.write_text(f"[database]\nsql_alchemy_conn = postgresql://af:{QUOTED}@127.0.0.1/x\n")
    release.fails("holds a '%' that is not written as '%%'")
    release.config.write_bytes(b"\xff\xfe")
    release.fails("it is not UTF-8 text")
    release.config.unlink()
    release.fails("it cannot be read by this user")


def test_secrets_backend(release):
    release.connection("path/in/vault", name="sql_alchemy_conn_secret")
    release.fails("secrets backend", "Give the connection as sql_alchemy_conn_cmd instead")


def test_command_problems(release):
    release.config.write_text("[database]\nsql_alchemy_conn_cmd = cat /nowhere/secret\n")
    release.fails("gave no connection: exit code 1: ", "/nowhere/secret")
    release.config.write_text("[database]\nsql_alchemy_conn_cmd = /nowhere/program\n")
    release.fails("gave no connection: ", "No such file")
    release.config.write_text("[database]\nsql_alchemy_conn_cmd = echo 'open\n")
    release.fails("gave no connection: No closing quotation")


def test_command_that_hangs(release, monkeypatch):
    real = subprocess.Popen.communicate

    def communicate(self, input=None, timeout=None):
        return real(self, input, 0.1 if timeout == 60 else timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    with pytest.raises(_db_helper.Problem) as caught:
        _db_helper.Configuration.run("sleep 30", "x")
    assert "60 seconds" in caught.value.facts["reason"]


@pytest.mark.parametrize(
    "url, words",
    [
        ("postgresql://af:s3cr@127.0.0.1/airflow\n", "starts or ends with white space"),
        pytest.param("s3cr", "not of the form dialect://user:password@host:port/database", id="no-url"),
        ("postgresql://af:s3cr@t@127.0.0.1/airflow", "an '@' in the user or password has to be written as %40"),
        ("postgresql://af:x@127.0.0.1:s3cr/airflow", "the port is not a number"),
        ("postgresql://af:s3cr@127.0.0.1", "it names no database"),
        ("postgresql://af:s3cr@127.0.0.1/", "it names no database"),
        ("sqlite:////var/lib/airflow/airflow.db", "a database of the kind sqlite, which is not supported"),
        ("mssql+pyodbc://af:s3cr@127.0.0.1/airflow", "of the kind mssql"),
        ("postgresql+asyncpg://af:s3cr@127.0.0.1/airflow", "The driver asyncpg in sql_alchemy_conn is not known"),
    ],
)
def test_unusable_connections(release, url, words):
    release.connection(url)
    release.fails(words)


def test_url_parts():
    parse = _db_helper.parse_url
    full = parse("postgresql+psycopg2://a%40f:p%2Fw@[::1]:6543/air?sslmode=require&connect_timeout=3", "x")
    assert (full["dialect"], full["driver"], full["user"], full["password"]) == ("postgresql", "psycopg2", "a@f", "p/w")
    assert (full["host"], full["port"], full["database"]) == ("::1", 6543, "air")
    assert full["query"] == {"sslmode": ["require"], "connect_timeout": ["3"]}
    bare = parse("postgres:///air?host=/run/postgresql", "x")
    assert (bare["dialect"], bare["user"], bare["password"], bare["host"]) == ("postgresql", None, None, None)
    assert parse("mariadb+pymysql://u@h/d", "x")["dialect"] == "mysql"


@pytest.mark.parametrize(
    "url, expected",
    [
        ("postgresql://af@h/airflow", {"host": "h", "dbname": "airflow", "user": "af", "connect_timeout": "10"}),
        ("postgresql://af@h:6543/airflow?sslmode=verify-full&sslrootcert=/ca&connect_timeout=3",
         {"port": "6543", "sslmode": "verify-full", "sslrootcert": "/ca", "connect_timeout": "3"}),
        ("postgresql://af@/airflow?host=/run/postgresql", {"host": "/run/postgresql"}),
        ("postgresql://af@/airflow?host=h1:5433&host=h2", {"host": "h1,h2", "port": "5433,5432"}),
        ("postgresql://af@/?dbname=airflow", {"dbname": "airflow"}),
        ("postgresql+psycopg://af@h/airflow", {"prepare_threshold": "None"}),
    ],
)  # fmt: skip
def test_postgresql_arguments(release, url, expected):
    release.connection(url)
    release.server(tables=AT_HEAD)
    assert release.run()["state"] == "current"
    assert expected.items() <= release.read()["connects"][0]["arguments"].items()


@pytest.mark.parametrize(
    "url, driver, expected, absent",
    [
        ("mysql://af:pw@h/airflow", "MySQLdb",
         {"passwd": "pw", "db": "airflow", "host": "h", "connect_timeout": "10"}, ""),
        ("mysql+mysqldb://af@h/airflow?ssl_ca=/ca&ssl_mode=REQUIRED&charset=utf8mb4&compress=true", "MySQLdb",
         {"ssl": "{'ca': '/ca'}", "ssl_mode": "REQUIRED", "charset": "utf8mb4", "compress": "True"}, ""),
        ("mysql+pymysql://af:pw@h:3307/airflow?ssl_ca=/ca&ssl_check_hostname=false&read_timeout=3&use_unicode=1",
         "pymysql",
         {"password": "pw", "database": "airflow", "port": "3307", "ssl": "{'ca': '/ca', 'check_hostname': False}"},
         "read_timeout"),
        ("mysql+pymysql://af@h/airflow?unix_socket=/s&local_infile=true&connect_timeout=3", "pymysql",
         {"unix_socket": "/s", "local_infile": "1", "connect_timeout": "3"}, ""),
        ("mysql+mysqlconnector://af@h/airflow?ssl_ca=/ca&ssl_verify_cert=true&connection_timeout=4", "mysql.connector",
         {"ssl_ca": "/ca", "ssl_verify_cert": "True", "connection_timeout": "4"}, "connect_timeout"),
    ],
)  # fmt: skip
def test_mysql_arguments(release, url, driver, expected, absent):
    release.connection(url)
    release.server(tables=AT_HEAD, version=["8.4.2", "MySQL"])
    assert release.run()["state"] == "current"
    connect = release.read()["connects"][0]
    assert connect["driver"] == driver
    assert expected.items() <= connect["arguments"].items()
    assert absent not in connect["arguments"]


def test_connect_arguments_of_the_operator(release):
    release.connection("postgresql://af@h/airflow", more="sql_alchemy_connect_args = tuning.ARGUMENTS\n")
    release.fails("sql_alchemy_connect_args names tuning.ARGUMENTS, which cannot be imported: ModuleNotFoundError")
    (release.home / "config").mkdir()
    (release.home / "config" / "tuning.py").write_text("ARGUMENTS = {'keepalives_idle': 7}\n")
    release.server(tables=AT_HEAD)
    release.run()
    assert release.read()["connects"][0]["arguments"]["keepalives_idle"] == "7"


def test_no_driver(release):
    (release.site / "psycopg2.py").write_text("raise ImportError('libpq.so.5: cannot open shared object file')")
    release.fails(
        "The release has no driver psycopg2 for database airflow on 127.0.0.1 port 5432 as user af", "libpq.so.5"
    )


# --- refused connections


@pytest.mark.parametrize("kind", sorted(POSTGRESQL_TEXTS))
def test_postgresql_refuses(release, kind):
    release.server(refuse={"text": POSTGRESQL_TEXTS[kind]})
    words = {
        "password": "The database server refuses the password: database airflow on 127.0.0.1 port 5432 as user af",
        "access": "does not let this user in from this host",
        "database": 'Create it: CREATE DATABASE "airflow" OWNER "af";',
        "slots": "takes no more connections",
    }
    text = release.fails(words[kind])
    assert kind != "access" or refused("c-database-user", text)


def test_postgresql_refuses_by_code(release):
    release.server(refuse={"text": "Passwort-Authentifizierung fehlgeschlagen", "code": "28P01"})
    release.fails("refuses the password")
    release.server(refuse={"text": 'permission denied for database "airflow"'})
    release.fails("The user lacks rights", "permission denied for database", "GRANT ALL ON SCHEMA public TO")


@pytest.mark.parametrize(
    "code, words",
    [
        (1045, "refuses the password"),
        (1049, "Create it: CREATE DATABASE `air_flow1` CHARACTER SET utf8mb4;"),
        (1044, "GRANT ALL PRIVILEGES ON `air_flow1`.* TO 'af'@'%';"),
        (1130, "does not let this user in from this host"),
        (1698, "does not let this user in from this host"),
        (1040, "takes no more connections"),
        (2026, "No TLS connection"),
        (2059, "cannot log in the way the database server asks for"),
    ],
)
@pytest.mark.parametrize("driver", ["pymysql", "mysqldb"])
def test_mysql_refuses(release, code, words, driver):
    release.mysql(driver)
    release.server(refuse={"code": code, "text": "it says"})
    release.fails(words, "database air_flow1 on 127.0.0.1 port 3306 as user af")


def test_network(release):
    port = free_port()
    release.server(refuse={"text": "could not connect"})
    release.connection(f"postgresql://af:{QUOTED}@127.0.0.1:{port}/airflow")
    release.fails("The database server does not answer: database airflow on 127.0.0.1", str(port), "refused")
    release.connection(f"postgresql://af:{QUOTED}@db.invalid/airflow")
    release.fails("The name of the database host does not resolve on this host: database airflow on db.invalid")


def test_the_network_is_fine_yet_no_connection(release):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        release.connection(f"postgresql://af:{QUOTED}@127.0.0.1:{port}/airflow")
        release.server(refuse={"text": f"strange: postgresql://af:{PASSWORD}@h {PASSWORD} {QUOTED}"})
        message = release.fails("The connection to the database failed", "strange", "********")
        assert "s3cr" not in message
        release.server(refuse={"text": "SSL error: certificate verify failed"})
        release.fails("No TLS connection to the database server came about", "certificate verify failed")


@pytest.mark.parametrize("query", ["host=/run/postgresql", "hostaddr=10.0.0.1"])
def test_no_look_at_the_network(release, query):
    release.connection(f"postgresql://af:{QUOTED}@/airflow?{query}")
    release.server(refuse={"text": "could not connect"})
    release.fails("The connection to the database failed: database airflow on", "could not connect")


def test_query_fails(release):
    release.server(deny=[{"match": "pg_class", "text": "canceling statement", "code": "57014"}])
    release.fails("The database server refused a query", "canceling statement")


def test_table_may_not_be_read(release):
    release.server(tables=AT_HEAD, deny=[{"match": "version_num", "text": "permission denied", "code": "42501"}])
    release.fails("The user lacks rights on the database", "permission denied", 'GRANT ALL ON SCHEMA public TO "af"')


def test_unforeseen(release):
    release.server(version=5)
    release.fails("Reading the database failed in an unforeseen way: database airflow on", "TypeError")


def test_masker():
    masker = _db_helper.Masker()
    masker.hide(PASSWORD, None, "")
    masker.hide("a")
    for text in (PASSWORD, QUOTED, f"x://u:{QUOTED}@h", "redis://:other@h", "amqp://me:other@h"):
        assert "s3cr" not in masker.mask(text) and "other" not in masker.mask(text)


# --- the server


@pytest.mark.parametrize(
    "version, words",
    [
        ("PostgreSQL 13.4 on x86_64", "Airflow 3.3.2 does not support PostgreSQL 13.4 (it needs 14 or later)"),
        ("CockroachDB CCL v23.1.1 (x86_64)", "Airflow 3.3.2 does not support cockroachdb 23.1.1: database airflow"),
        ("Strange", "does not support strange 0"),
    ],
)
def test_unsupported_postgresql(release, version, words):
    release.server(version=version, tables=AT_HEAD)
    text = release.fails(words, "set allow_unsupported to go on at your own risk")
    assert "PostgreSQL" not in words or refused("c-database-old", text)
    result = release.run(allow_unsupported=True)
    assert result["state"] == "current" and "allow_unsupported is set" in result["warnings"][0]


@pytest.mark.parametrize(
    "version, words",
    [
        (["5.7.44-log", "MySQL"], "does not support MySQL 5.7.44 (it needs 8.0 or later)"),
        (["10.11.19-MariaDB-0+deb12u1", "Debian 12"], "Airflow 3.3.2 does not support MariaDB 10.11.19: "),
        (["5.5.5-10.6.1-MariaDB", "x"], "does not support MariaDB 10.6.1"),
        (["10.6.1", "mariadb.org binary distribution"], "does not support MariaDB 10.6.1"),
    ],
)
def test_unsupported_mysql(release, version, words):
    release.mysql()
    release.server(version=version, tables=AT_HEAD)
    release.fails(words)
    assert release.run(allow_unsupported=True)["state"] == "current"
    product = "mariadb" if "aria" in words else "mysql"
    assert "warnings" not in release.run(minimum_servers={product: 5})


def test_read_only(release):
    release.server(standby=True)
    release.fails("The database is read-only", "address of the primary", check=True)
    release.mysql()
    release.fails("The database is read-only")


@pytest.mark.parametrize("pooler", ["same", "robin"])
@pytest.mark.parametrize("check", [True, False])
def test_pooler(release, pooler, check):
    release.server(pooler=pooler)
    release.fails(
        "a pooler in transaction mode", "Use the server's own address, or a pool in session mode", check=check
    )
    assert release.wrote() == [] and not release.read()["ran"]
    # With nothing to migrate it is no obstacle.
    release.server(tables=AT_HEAD)
    assert release.run()["state"] == "current"


# --- connections


CLUSTER = {"webserver": 30, "worker": 40}


@pytest.mark.parametrize(
    "limits, words",
    [
        ([73, 3, 0, -1, -1], None),
        ([72, 3, 0, -1, -1], "It allows 69 (max_connections 72 - superuser_reserved_connections 3), and the cluster"),
        (
            [80, 3, 10, -1, -1],
            "allows 67 (max_connections 80 - superuser_reserved_connections 3 - reserved_connections 10)",
        ),
        ([300, 3, 0, 50, -1], "It allows 50 (the user's CONNECTION LIMIT)"),
        ([300, 3, 0, 60, 55], "It allows 55 (the database's CONNECTION LIMIT)"),
        ([300, 3, 0, 0, -1], "It allows 0 (the user's CONNECTION LIMIT)"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_connections_of_postgresql(release, limits, words, check):
    release.server(limits=limits, tables=AT_HEAD)
    if words is None:
        assert release.run(connections=CLUSTER, check=check)["state"] == "current"
        return
    release.fails(words, "may need 70 (webserver 30 + worker 40). Raise the limit", connections=CLUSTER, check=check)
    # Not asked for, it is not compared; behind a pooler, the server's limit says nothing.
    assert release.run(check=check)["state"] == "current"
    release.server(pooler="same")
    assert release.run(connections=CLUSTER, check=check)["state"] == "current"


@pytest.mark.parametrize(
    "limits, words",
    [
        ([70, 0], None),
        ([69, 0], "It allows 69 (max_connections 69)"),
        ([300, 20], "It allows 20 (max_user_connections 20)"),
    ],
)
def test_connections_of_mysql(release, limits, words):
    release.mysql()
    release.server(limits=limits, tables=AT_HEAD)
    if words is None:
        assert release.run(connections=CLUSTER)["state"] == "current"
    else:
        release.fails("airflow_database_connections: The database server allows too few", words, connections=CLUSTER)


def test_connections_that_are_no_numbers(release):
    release.fails("connections: many is no number of connections of worker", connections={"worker": "many"})


# --- processes of another release


def test_nothing_is_migrated_under_processes_of_another_release(release):
    release.server(tables=BEHIND)
    text = release.fails("Nothing was migrated", running=["/opt/other", str(release.venv)])
    assert refused("c-running", text)
    assert "still run: /opt/other. They" in text
    assert release.wrote() == [] and not release.read()["ran"]
    # Check mode tells what would be migrated; the processes are still to be stopped.
    assert release.run(running=["/opt/other"], check=True)["changed"]


def test_processes_of_another_release_are_no_obstacle_without_a_migration(release):
    release.server(tables=AT_HEAD)
    assert release.run(running=["/opt/other"])["state"] == "current"
    release.server(tables=BEHIND)
    assert release.run(running=[str(release.venv)])["migrated"]


# --- rights


@pytest.mark.parametrize("create", [False, None])
@pytest.mark.parametrize("check", [True, False])
def test_postgresql_grant(release, create, check):
    release.server(create=create)
    release.fails("missing: CREATE", 'GRANT ALL ON SCHEMA public TO "af"; (in the database airflow)', check=check)
    assert not release.read()["ran"]


def test_tables_of_another_user(release):
    release.server(tables=BEHIND, owners=[["dag_run", "postgres"]])
    release.fails("The table dag_run belongs to the user postgres", 'REASSIGN OWNED BY "postgres" TO "af";')


@pytest.mark.parametrize(
    "grants, missing",
    [
        (["GRANT USAGE ON *.* TO `af`@`%`"], "ALTER, CREATE, DELETE, DROP, INDEX, INSERT, REFERENCES, SELECT, UPDATE"),
        (["GRANT ALL PRIVILEGES ON `other`.* TO `af`@`%`"], "ALTER, CREATE"),
        ([r"GRANT ALL PRIVILEGES ON `air\_flow2`.* TO `af`@`%`"], "ALTER, CREATE"),
        (["GRANT SELECT, INSERT, UPDATE, DELETE ON `air_flow1`.* TO `af`@`%`"], "ALTER, CREATE, DROP, INDEX"),
        (["GRANT ALL PRIVILEGES ON *.* TO `af`@`%`"], None),
        (["GRANT ALL PRIVILEGES ON `air_flow1`.* TO `af`@`%` WITH GRANT OPTION"], None),
        (["GRANT ALL PRIVILEGES ON `AIR%`.* TO `af`@`%`"], None),
        (["GRANT USAGE ON *.* TO `af`@`%`", "GRANT `writer`@`%` TO `af`@`%`"], None),
        (["GRANT ALTER, CREATE, DELETE, DROP, INDEX ON *.* TO `af`@`%`",
          "GRANT INSERT, REFERENCES, SELECT, UPDATE ON `air_flow1`.* TO `af`@`%`"], None),
    ],
)  # fmt: skip
def test_mysql_grant(release, grants, missing):
    release.mysql()
    release.server(grants=grants)
    if missing:
        release.fails(f"missing: {missing}", "GRANT ALL PRIVILEGES ON `air_flow1`.* TO 'af'@'%';", check=True)
    else:
        assert release.run()["migrated"]


def test_mysql_grant_shown_late(release):
    release.mysql()
    release.server(deny=[{"match": "CREATE TABLE", "text": "CREATE command denied", "code": 1142}])
    release.fails("The user lacks rights on the database", "CREATE command denied")


# --- revisions


def test_newer(release):
    release.server(tables=dict(AT_HEAD, alembic_version=[CORE_33]))
    (release.site / "airflow/migrations/versions/c.py").unlink()
    (release.site / "apache_airflow_core-3.3.2.dist-info").rename(release.site / "apache_airflow-3.2.1.dist-info")
    text = release.fails(
        "The database is newer than the release", f"alembic_version is at {CORE_33}, of Airflow 3.3.0",
        "the release is Airflow 3.2.1", "Install a release at least that new", "downgrade",
    )  # fmt: skip
    assert refused("c-database-newer", text)


def test_newer_provider(release):
    release.server(tables=AT_HEAD)
    (release.site / "airflow/providers/fab/migrations/versions/b.py").unlink()
    release.fails("newer than the release", f"alembic_version_fab is at {FAB_NEW}, of the fab provider 3.5.0")


@pytest.mark.parametrize("revision, version", [("03afc6b6f902", "1.10.13"), ("587bdf053233", "2.2.4")])
def test_too_old(release, revision, version):
    release.server(tables=dict(BEHIND, alembic_version=[revision]))
    release.fails(
        f"{revision}, of Airflow {version}", "Migrate with a release from 2.7 to 2.11 first, then with this one"
    )


def test_unknown_revision(release):
    release.server(tables=dict(BEHIND, alembic_version=["ffffffffffff"]))
    release.fails("neither Airflow 3.3.2 nor this collection knows", "ffffffffffff", "pg_restore", "backup.dump")


def test_foreign(release):
    release.server(tables={"orders": [], "customers": []})
    text = release.fails("not empty, and not Airflow's", "customers, orders", "Name another database")
    assert refused("c-database-foreign", text)
    release.server(tables={"alembic_version": ["ffffffffffff"], "orders": []})
    release.fails("not empty, and not Airflow's")


def test_several_revisions(release):
    release.server(tables=dict(BEHIND, alembic_version=[CORE_32, CORE_210]))
    release.fails(f"The table alembic_version holds several revisions ({CORE_32}, {CORE_210})", "Restore the backup")


def test_several_heads(release):
    release.versions("airflow/migrations", [("d", CORE_32, "aaaaaaaaaaaa")])
    release.server(tables=dict(AT_HEAD, alembic_version=[CORE_33, "aaaaaaaaaaaa"]))
    assert release.run()["state"] == "current"


def test_revisions_are_told_apart():
    seen = set()
    for versions in _revisions.REVISIONS.values():
        for revisions in versions.values():
            assert seen.isdisjoint(revisions.split())
            seen.update(revisions.split())
    assert _revisions.version_of("alembic_version", CORE_33) == "3.3.0"
    assert _revisions.version_of("alembic_version", "c804e5c76e3e") == "2.6.2"
    assert _revisions.version_of("alembic_version_fab", CORE_33) is None
    assert _revisions.version_of("unknown", CORE_33) is None


# --- the lock


def test_waits_for_another_run(release):
    release.server(tables=BEHIND, lock="other", tries=2, then=AT_HEAD)
    result = release.run()
    assert (result["changed"], result["waited"], result["state"], result["migrated"]) == (False, True, "current", False)
    assert not release.read()["ran"] and not release.wrote()


def test_another_run_is_creating_the_tables(release):
    release.server(tables={"asset": [], MARKER: [NOTE]}, lock="other", tries=1, then=AT_HEAD, then_drop=[MARKER])
    assert release.run()["waited"]
    release.server(tables={"asset": []}, lock="other", tries=1, then=AT_HEAD)
    assert release.run()["waited"]


def test_goes_on_when_the_other_run_failed(release):
    release.server(tables=BEHIND, lock="other", tries=1)
    result = release.run()
    assert result["waited"] and result["changed"] and result["migrated"]


@pytest.mark.parametrize("dialect, holder", [("postgresql", "server process 4711, from 10.0.0.9"),
                                             ("mysql", "server connection 4711")])  # fmt: skip
def test_lock_timeout(release, dialect, holder):
    if dialect == "mysql":
        release.mysql()
    release.server(tables=BEHIND, lock="other", tries=99)
    release.fails("Another run still held the migration lock after 1 seconds", holder, "raise timeout", timeout=1)
    release.server(then=AT_HEAD, tries=99, lock="other")


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_migrates_under_the_lock(release, dialect):
    if dialect == "mysql":
        release.mysql()
    release.server(tables=BEHIND)
    assert release.run()["migrated"]
    data = release.read()
    note = data["child"]["marked"][0]
    assert (note["state"], note["revision_from"], note["revision_to"]) == ("behind", CORE_32, CORE_33)
    assert data["child"]["locked"] is not None and data["lock"] is None
    # The child holds the socket of the lock's connection.
    assert data["child"]["sockets"]
    application = data["child"]["environment"].get("PGAPPNAME")
    if dialect == "mysql":
        assert application is None
        assert any("wait_timeout" in sql for sql in data["log"])
    else:
        assert application.startswith("dataops.airflow migration ")
        assert "SET statement_timeout = 0" in data["log"]
        assert "SET idle_in_transaction_session_timeout = 0" in data["log"]


def test_long_migration_keeps_asking_for_its_lock(release, monkeypatch):
    source = inspect.getsource(_db_helper).replace("PING_SECONDS = 30", "PING_SECONDS = 0")
    monkeypatch.setattr(airflow_db.inspect, "getsource", lambda _module: source)
    release.server(tables=BEHIND, plan={"tables": AT_HEAD, "sleep": 2})
    assert release.run()["migrated"]
    assert len([sql for sql in release.read()["log"] if "count(*) FROM pg_locks" in sql]) >= 3


def test_lock_regained(release):
    deny = {"match": r"count\(\*\) FROM pg_locks", "text": "server closed the connection", "times": 1}
    release.server(tables=BEHIND, plan={"tables": AT_HEAD, "deny": [deny], "lose_lock": None})
    assert release.run()["changed"]
    assert release.read()["denied"] == 1 and MARKER not in release.tables


def test_lock_lost(release):
    release.server(tables=BEHIND, plan={"tables": AT_HEAD, "lose_lock": "other"}, tries=99)
    release.fails("its lock was lost on the way", f"It is at {CORE_33}. Run this again.")


def test_server_gone_after_the_migration(release):
    deny = {"match": r"pg_locks", "text": "server closed the connection"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        release.connection(f"postgresql://af:{QUOTED}@127.0.0.1:{listener.getsockname()[1]}/airflow")
        release.server(plan={"tables": AT_HEAD, "deny": [deny]}, refuse={"from": 3, "text": "gone"})
        release.fails("The connection to the database failed", "gone")


# --- the migration


def test_migration_fails(release):
    says = f"Traceback: no such thing\nsqlalchemy.exc: postgresql://af:{QUOTED}@h/x {PASSWORD}"
    release.server(tables=BEHIND, plan={"rc": 1, "says": says})
    message = release.fails(
        "airflow db migrate failed with exit code 1: database airflow on 127.0.0.1", "no such thing"
    )
    assert "Nothing is half-done: the next run tries again." in message
    # The next run is not in doubt.
    assert MARKER not in release.tables
    release.server(plan={"tables": AT_HEAD})
    assert release.run()["changed"]


def test_only_the_end_of_the_output_is_told(release):
    release.server(plan={"rc": 3, "says": "begin " + "x" * 9000 + " end"})
    message = release.fails("exit code 3", "end")
    assert "begin" not in message and len(message) < 5000


def test_initialisation_interrupted_on_postgresql(release):
    started = {"asset": [], "dag_run": [], "slot_pool": []}
    release.server(plan={"rc": 1, "tables": started})
    release.fails("failed with exit code 1")
    assert release.tables[MARKER][0]["state"] == "empty"
    assert release.run(check=True)["state"] == "empty"
    # A second failure does not forget where it began.
    release.fails("failed with exit code 1")
    release.server(plan={"tables": AT_HEAD})
    result = release.run()
    assert (result["changed"], result["state"]) == (True, "empty")
    assert MARKER not in release.tables


@pytest.mark.parametrize("marker", [None, NOTE, dict(NOTE, state="empty", revision_to="older")])
def test_tables_without_revision(release, marker):
    release.server(tables=dict({"dag_run": []}, **({MARKER: [marker]} if marker else {})))
    for check in (True, False):
        release.fails("holds tables but no revision", "pg_restore", 'DROP DATABASE "airflow"', check=check)
    release.server(tables={"dag_run": [], "alembic_version": []})
    release.fails("holds tables but no revision")


def test_finishes_what_died_after_the_last_revision(release):
    for prepare in (lambda: None, release.mysql):
        prepare()
        release.server(tables=dict(AT_HEAD, **{MARKER: [NOTE]}), ran=[])
        result = release.run()
        assert (result["changed"], result["state"], result["migrated"]) == (True, "current", True)
        assert "(unfinished)" in result["diff"]["before"] and "(unfinished)" not in result["diff"]["after"]
        assert release.read()["ran"] and MARKER not in release.tables


def test_marker_is_kept_if_finishing_fails(release):
    release.server(tables=dict(AT_HEAD, **{MARKER: [NOTE]}), plan={"rc": 1})
    release.fails("failed with exit code 1")
    assert MARKER in release.tables


def test_marker_without_a_row(release):
    release.server(tables=dict(BEHIND, **{MARKER: []}))
    assert release.run()["changed"]
    release.mysql()
    release.server(tables=dict(BEHIND, **{MARKER: []}))
    assert release.run()["changed"]


def test_half_done_on_mysql(release):
    release.mysql()
    release.server(tables=dict(BEHIND, **{MARKER: [NOTE]}))
    for check in (True, False):
        message = release.fails(
            "A migration of this database died half-way, and MySQL cannot undo it: database air_flow1 on 127.0.0.1",
            "It began at 2026-11-22T01:02:03Z on master1", f"from revision {CORE_32} to {CORE_33}",
            "Restore the backup from before it: mysql --host=127.0.0.1 --port=3306 --user=root --password --execute='",
            "&& mysql --host=127.0.0.1 --port=3306 --user=root --password air_flow1 < backup.sql",
            f"DROP TABLE {MARKER};", check=check,
        )  # fmt: skip
    assert "alembic_version is at " + CORE_32 in message
    assert not release.read()["ran"]


def test_half_done_initialisation_on_mysql(release):
    release.mysql()
    release.server(tables={"asset": [], MARKER: [dict(NOTE, state="empty", revision_from="")]})
    release.fails("The database was empty before, so empty it again: DROP DATABASE `air_flow1`; CREATE DATABASE",
                  "from revision none", "alembic_version is at none now")  # fmt: skip


def test_mysql_migration_fails_half_way(release):
    release.mysql()
    release.server(tables=BEHIND, plan={"rc": 1, "says": "1582 REGEXP_REPLACE", "tables": {"dag_run": ["altered"]}})
    release.fails("failed with exit code 1", f"half-migrated, at {CORE_32}", "cannot undo that", "backup.sql", "1582")
    release.fails("died half-way")


def test_mysql_initialisation_fails_half_way(release):
    release.mysql()
    release.server(plan={"rc": 1, "tables": {"asset": []}})
    release.fails("half-migrated, at no revision", "empty it again")
    release.fails("died half-way")


def test_mysql_migration_fails_before_it_begins(release):
    release.mysql()
    release.server(tables=dict(BEHIND, log=[]), plan={"rc": 1, "tables": {"log": ["a row"]}})
    release.fails("failed with exit code 1", "Nothing is half-done")
    assert MARKER not in release.tables


def test_mysql_without_statistics_expiry(release):
    release.mysql()
    release.server(deny=[{"match": "information_schema_stats_expiry", "text": "unknown variable", "code": 1193}])
    assert release.run()["migrated"]


def test_failure_that_leaves_a_foreign_state(release):
    release.server(tables=BEHIND, plan={"rc": 1, "tables": {"alembic_version": ["eeeeeeeeeeee"]}})
    release.fails("failed with exit code 1")


def test_another_database_was_migrated(release):
    release.server(tables=BEHIND, plan={})
    release.fails(
        f"airflow db migrate ended well, yet the database is at {CORE_32} instead of {CORE_33}",
        f"Does it read another database than {release.config} names?", "Database migrating done!",
    )  # fmt: skip


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_migration_timeout(release, dialect):
    if dialect == "mysql":
        release.mysql()
    release.server(tables=BEHIND, plan={"sleep": 60, "says": "slow"}, orphans=1)
    begun = time.monotonic()
    release.fails("The migration took longer than 1 seconds and was ended", "Raise timeout", "slow", timeout=1)
    assert time.monotonic() - begun < 30
    data = release.read()
    assert not Path("/proc/{}".format(data["child"]["pid"])).exists()
    # What it still ran on the server is ended as well, and before the lock is given up.
    ends = [n for n, sql in enumerate(data["log"]) if "pg_terminate_backend" in sql or sql.startswith("KILL ")]
    assert ends and data["lock"] is None


def test_stubborn_migration_is_killed(release, monkeypatch):
    source = inspect.getsource(_db_helper).replace("STOP_SECONDS = 10", "STOP_SECONDS = 1")
    monkeypatch.setattr(airflow_db.inspect, "getsource", lambda _module: source)
    release.server(tables=BEHIND, plan={"sleep": 60, "stubborn": True})
    release.fails("took longer than 1 seconds", timeout=1)
    assert not Path("/proc/{}".format(release.read()["child"]["pid"])).exists()


# --- killed


def start_helper(release, parent, **changes):
    """The helper in a process of its own, as the runner starts it."""
    request = {
        "venv": str(release.venv), "config": str(release.config), "check": False, "command": ["db", "migrate"],
        "minimum_servers": {"postgresql": "14", "mysql": "8.0"}, "allow_unsupported": False, "timeout": 60,
        "parent": parent,
    }  # fmt: skip
    program = (
        "import os, json, subprocess, sys\n"
        f"request = json.loads({json.dumps(json.dumps(dict(request, **changes)))})\n"
        "request['parent'] = request['parent'] or os.getpid()\n"
        f"source = open({_db_helper.__file__!r}).read()\n"
        "text = 'REQUEST = ' + repr(request) + chr(10) + source\n"
        f"argv = [{str(release.venv / 'bin/python')!r}, '-I', '-']\n"
        "child = subprocess.Popen(argv, stdin=-1, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "child.communicate(text.encode())\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_killed_module_ends_the_migration_before_the_lock(release):
    release.server(tables=BEHIND, plan={"sleep": 120})
    module = start_helper(release, None)
    try:
        child = wait_for(lambda: release.read().get("child"))["pid"]
        assert release.read()["lock"] is not None
        module.kill()
        wait_for(lambda: not Path(f"/proc/{child}").exists())
        wait_for(lambda: release.read()["lock"] is None)
        log = release.read()["log"]
        assert any("pg_terminate_backend" in sql for sql in log)
        assert MARKER in release.tables or release.tables == BEHIND
    finally:
        module.kill()
        module.stdout.close()
        module.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_helper_takes_the_migration_with_it(release, number):
    release.server(tables=BEHIND, plan={"sleep": 120})
    module = start_helper(release, None)
    try:
        helper = int(module.stdout.readline())
        child = wait_for(lambda: release.read().get("child"))["pid"]
        os.kill(helper, number)
        wait_for(lambda: not Path(f"/proc/{child}").exists())
        output = module.communicate(timeout=20)[0]
        if number == signal.SIGTERM:
            assert json.loads(output)["problem"] == "stopped"
    finally:
        module.kill()
        module.wait()


def test_signal_while_it_waits_for_the_lock(release):
    release.server(tables=BEHIND, lock="other", tries=1000)
    module = start_helper(release, 1)
    assert json.loads(module.communicate(timeout=20)[0].split("\n")[1])["problem"] == "stopped"
    assert not release.read()["ran"]


def test_message_of_a_stopped_migration():
    answer = {"problem": "stopped", "facts": {}, "target": None}
    assert (
        airflow_db.Failure(answer, {"command": ["db"]}).text()
        == "The migration was ended by a signal: database unknown."
    )


# --- arguments


@pytest.mark.parametrize(
    "options, words",
    [
        ({"timeout": 0}, "timeout is 0 seconds; it has to be 1 or more"),
        ({"command": []}, "command is empty"),
        ({"minimum_servers": {"postgresql": "new"}}, "minimum_servers: new is not a version of postgresql"),
        ({"user": "no-such-user"}, "there is no user no-such-user on this host"),
    ],
)
def test_arguments(release, options, words):
    release.fails(words, **options)


def test_helper_that_dies(release):
    (release.site / "psycopg2.py").write_text(
        "import os, sys\nsys.stderr.write('oh no')\nsys.stderr.flush()\nos._exit(5)\n"
    )
    release.fails("gave no result (exit code 5): oh no")


def test_every_message_is_reached():
    """Each kind of problem the helper knows has its own message."""
    source = inspect.getsource(_db_helper)
    kinds = set(re.findall(r"Problem\(\s*\"(\w+)\"", source)) - {"unknown_revision"}
    assert kinds <= set(airflow_db.MESSAGES)


def test_helper_runs_on_python_36():
    """No syntax that 3.6 lacks, as far as the parser of this Python tells."""
    source = inspect.getsource(_db_helper)
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source
