# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.
# Runs in the interpreter of the release, as old as Python 3.6: hence no `annotations` future, and only what 3.6 has.

"""Compares the metadata database with the release whose interpreter runs this, and migrates it under a lock.

dataops.airflow.airflow_db sends this text to the interpreter. It prints one JSON object. It never imports Airflow: that
takes seconds, while reading the version tables and the migration files takes milliseconds.
"""

import contextlib
import json
import os
import re
import sys
import time

MARKER = "dataops_airflow_migration"
CORE = "alembic_version"
# Any of them: the database belongs to Airflow, of whatever version.
AIRFLOW_TABLES = {"dag_run", "task_instance", "slot_pool", "xcom", "serialized_dag", "dag_pickle", "ab_user"}
# A Celery result backend in the same database; it may be there before Airflow is.
NEUTRAL_TABLES = {MARKER, "celery_taskmeta", "celery_tasksetmeta"}
# These change while nothing migrates: they prove nothing about a failed migration.
BUSY_TABLES = {"log", "job", MARKER}
LOCK_KEYS = (1684108385, 1869640545)
CONNECT_SECONDS = 10
POLL_SECONDS = 0.5
PING_SECONDS = 30
STOP_SECONDS = 10
TAIL = 4000


class Problem(Exception):
    """Something the operator has to know; the module turns `kind` and `facts` into a message."""

    def __init__(self, kind, **facts):
        super().__init__(kind)
        self.kind = kind
        self.facts = facts


# --- what the release wants ---------------------------------------------------------------------------------------


def package_root():
    """The directory that Airflow is installed in."""
    for entry in sys.path:
        if os.path.isdir(os.path.join(entry, "airflow", "migrations", "versions")):
            return entry
    raise Problem("no_airflow", python=sys.executable)


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def airflow_version(root):
    """From the installed metadata; apache-airflow-core carries the code since 3.0."""
    found = {}
    for name in os.listdir(root):
        match = re.match(r"apache_airflow(_core)?-(\d[^-]*)\.(dist|egg)-info$", name)
        if match:
            found[bool(match.group(1))] = match.group(2)
    return found.get(True) or found.get(False)


def revisions(folder):
    """All revisions of the migration files in `folder`, and those that no other file follows."""
    known = set()
    followed = set()
    for name in os.listdir(folder):
        if name.endswith(".py"):
            text = read_text(os.path.join(folder, name))
            match = re.search(r"^revision(?:\s*:[^=\n]+)?\s*=\s*[\"'](\w+)", text, re.M)
            if match:
                known.add(match.group(1))
                down = re.search(r"^down_revision(?:\s*:[^=\n]+)?\s*=\s*(\([^)]*\)|[^\n#]*)", text, re.M)
                followed.update(re.findall(r"[\"'](\w+)[\"']", down.group(1)) if down else ())
    return known, known - followed


def module_file(root, dotted):
    """The file of the module that holds the object named `dotted`."""
    path = dotted.rsplit(".", 1)[0].replace(".", os.sep)
    for entry in [root] + sys.path:
        for candidate in (path + ".py", os.path.join(path, "__init__.py")):
            if entry and os.path.isfile(os.path.join(entry, candidate)):
                return entry, os.path.join(entry, candidate)
    return None, None


def declared_managers(root):
    """What the installed providers declare as `db-managers`."""
    found = []
    providers = os.path.join(root, "airflow", "providers")
    for name in sorted(os.listdir(providers)) if os.path.isdir(providers) else ():
        folder = os.path.join(providers, name)
        folders = [folder]
        if os.path.isdir(folder) and not os.path.isfile(os.path.join(folder, "get_provider_info.py")):
            # A family of providers, such as airflow.providers.microsoft.
            folders = [os.path.join(folder, inner) for inner in sorted(os.listdir(folder))]
        for provider in folders:
            info = os.path.join(provider, "get_provider_info.py")
            if os.path.isdir(os.path.join(provider, "migrations", "versions")) and os.path.isfile(info):
                match = re.search(r"[\"']db-managers[\"']\s*:\s*\[([^\]]*)\]", read_text(info))
                found += re.findall(r"[\"']([\w.]+)[\"']", match.group(1)) if match else []
    return found


def histories(root, config):
    """version table -> (known revisions, heads) of everything `airflow db migrate` migrates.

    Airflow's own code says how it finds the histories beside the core's: before 3.0 there are none, 3.0 and 3.1 ask the
    configuration, and later versions the installed providers as well.
    """
    found = {CORE: revisions(os.path.join(root, "airflow", "migrations", "versions"))}
    ignored = []
    runner = os.path.join(root, "airflow", "utils", "db_manager.py")
    if os.path.isfile(runner):
        names = declared_managers(root) if "ProvidersManager" in read_text(runner) else []
        names += [name.strip() for name in (config.plain("database", "external_db_managers") or "").split(",")]
        _entry, auth = module_file(root, config.plain("core", "auth_manager") or "")
        if auth:
            match = re.search(r"def get_db_manager\([^)]*\)[^:]*:\s*return [\"']([\w.]+)", read_text(auth))
            names += [match.group(1)] if match else []
        for name in names:
            if name and not add_history(root, name, found):
                ignored.append(name)
    return found, ignored


def add_history(root, name, found):
    """Adds the history of the database manager `name`; says whether its files could be read."""
    entry, path = module_file(root, name)
    match = re.search(r"version_table_name\s*(?::[^=\n]+)?=\s*[\"'](\w+)", read_text(path)) if path else None
    if not match:
        return False
    folder = os.path.dirname(path)
    core = os.path.join(entry, "airflow")
    while folder not in (entry, core, os.path.dirname(folder)):
        versions = os.path.join(folder, "migrations", "versions")
        if os.path.isdir(versions):
            found[match.group(1)] = revisions(versions)
            return True
        folder = os.path.dirname(folder)
    return False


# --- which database ------------------------------------------------------------------------------------------------


class Configuration:
    """Reads options as Airflow does: environment, file, command; the new section before the old one."""

    def __init__(self, path):
        import configparser

        self.path = path
        self.errors = configparser.Error
        self.parser = configparser.ConfigParser()
        try:
            if not self.parser.read(path, encoding="utf-8"):
                raise Problem("config", path=path, reason="it cannot be read by this user")
        except configparser.Error as error:
            # The text of these errors quotes the line, which may hold the password.
            raise Problem(
                "config", path=path, reason=f"it is not a valid configuration file ({type(error).__name__})"
            ) from None
        except UnicodeDecodeError:
            raise Problem("config", path=path, reason="it is not UTF-8 text") from None

    def from_file(self, section, key):
        if not self.parser.has_option(section, key):
            return None
        try:
            return self.parser.get(section, key)
        except self.errors:
            raise Problem(
                "config", path=self.path, reason=f"[{section}] {key} holds a '%' that is not written as '%%'"
            ) from None

    def plain(self, section, key):
        value = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
        return value if value is not None else self.from_file(section, key)

    def connection(self):
        """The SQLAlchemy URL of the metadata database, and where it came from."""
        value, origin = self.sensitive("sql_alchemy_conn", "database", "core")
        if origin is None:
            raise Problem("config", path=self.path, reason="it sets no [database] sql_alchemy_conn, plain or as _cmd")
        return value, origin

    def sensitive(self, key, *sections):
        """The value of an option that may be read from a command, and where it came from: neither if it is not set."""
        names = [(section, f"AIRFLOW__{section.upper()}__{key.upper()}") for section in sections]
        for _section, name in names:
            for suffix, read in (("", expand), ("_CMD", self.run), ("_SECRET", self.backend)):
                if name + suffix in os.environ:
                    return read(os.environ[name + suffix], name + suffix), name + suffix
        for suffix, read in (("", expand), ("_cmd", self.run), ("_secret", self.backend)):
            for section in sections:
                value = self.from_file(section, key + suffix)
                if value is not None:
                    origin = f"[{section}] {key}{suffix} of {self.path}"
                    return read(value, origin), origin
        return None, None

    @staticmethod
    def backend(_value, origin):
        raise Problem("secrets_backend", origin=origin)

    @staticmethod
    def run(command, origin):
        import shlex
        import subprocess

        try:
            process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                output, errors = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise Problem("command", origin=origin, reason="it did not end within 60 seconds") from None
        except (OSError, ValueError) as error:
            raise Problem("command", origin=origin, reason=str(error)) from None
        if process.returncode != 0:
            reason = errors.decode("utf-8", "replace").strip()[-500:]
            raise Problem("command", origin=origin, reason=f"exit code {process.returncode}: {reason}")
        return output.decode("utf-8", "replace")


def expand(value, _origin=None):
    while True:
        expanded = os.path.expanduser(os.path.expandvars(value))
        if expanded == value:
            return value
        value = expanded


URL = re.compile(
    r"""
    (?P<name>[\w+]+)://
    (?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?
    (?:\[(?P<host6>[^/?]+)\]|(?P<host>[^/:?]+))?
    (?::(?P<port>[^/?]*))?
    (?:/(?P<database>[^?]*))?
    (?:\?(?P<query>.*))?$
    """,
    re.X | re.S,
)


def parse_url(text, origin):
    """The parts of a SQLAlchemy URL, by the rules of SQLAlchemy. No error repeats any of it: it holds the password."""
    from urllib.parse import parse_qsl, unquote

    if text != text.strip():
        raise Problem(
            "url", origin=origin, reason="it starts or ends with white space, which Airflow takes as part of it"
        )
    match = URL.match(text)
    if not match:
        raise Problem("url", origin=origin, reason="it is not of the form dialect://user:password@host:port/database")
    host = match.group("host6") or match.group("host")
    if "@" in (host or "") or "@" in (match.group("database") or ""):
        raise Problem("url", origin=origin, reason="an '@' in the user or password has to be written as %40")
    port = match.group("port")
    if port and not port.isdigit():
        raise Problem(
            "url", origin=origin, reason="the port is not a number: is there a ':' or '/' that needs %3A or %2F?"
        )
    dialect, _plus, driver = match.group("name").partition("+")
    query = {}
    for name, value in parse_qsl(match.group("query") or "", keep_blank_values=True):
        query.setdefault(name, []).append(value)
    return {
        "dialect": {"postgres": "postgresql", "mariadb": "mysql"}.get(dialect, dialect),
        "driver": driver or None,
        "user": unquote(match.group("user")) if match.group("user") else None,
        "password": unquote(match.group("password")) if match.group("password") is not None else None,
        "host": host or None,
        "port": int(port) if port else None,
        "database": match.group("database") or None,
        "query": query,
    }


def connect_arguments(config, root):
    """[database] sql_alchemy_connect_args: the path of a dict in a module of the operator's."""
    dotted = config.plain("database", "sql_alchemy_connect_args") or config.plain("core", "sql_alchemy_connect_args")
    if not dotted:
        return {}
    import importlib

    home = os.environ.get("AIRFLOW_HOME", "")
    sys.path[:0] = [
        os.path.join(home, "config"),
        config.plain("core", "plugins_folder") or os.path.join(home, "plugins"),
    ]
    try:
        return dict(getattr(importlib.import_module(dotted.rpartition(".")[0]), dotted.rpartition(".")[2]))
    except Exception as error:
        raise Problem("connect_args", name=dotted, reason=f"{type(error).__name__}: {error}") from None


class Masker:
    """Hides the password in texts that were not written here."""

    def __init__(self):
        self.secrets = []

    def hide(self, *secrets):
        from urllib.parse import quote, quote_plus

        known = set(self.secrets)
        for secret in secrets:
            if secret:
                known.update([secret, quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]])
        self.secrets = sorted(known, key=len, reverse=True)

    def mask(self, text):
        for secret in self.secrets:
            text = text.replace(secret, "********")
        return re.sub(r"://([^:/@\s]*):[^@\s]*@", r"://\1:********@", text)


MASKER = Masker()


# --- talking to the servers ----------------------------------------------------------------------------------------


def plain_text(value):
    return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value


def open_sockets():
    """The descriptors of this process that are sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).startswith("socket:"):
                found.add(int(name))
        except OSError:
            pass
    return found


def flag(value):
    return value.strip().lower() in ("true", "t", "yes", "y", "on", "1")


class Server:
    """One database of one server. `connection` is the one that holds the lock."""

    default_port = None
    # What names of tables and columns stand between.
    quote = '"'

    def __init__(self, target, extra):
        self.target = target
        self.extra = extra
        self.driver = None
        self.connection = None
        self.sockets = set()

    def load(self, names):
        """The driver the URL names; without a name, the dialect's own."""
        import importlib

        name = names.get(self.target["driver"])
        if name is None:
            raise Problem("driver", driver=self.target["driver"], known=sorted(key for key in names if key))
        try:
            self.driver = importlib.import_module(name)
        except ImportError as error:
            raise Problem("no_driver", driver=name, reason=str(error)) from None

    def connect(self):
        """Opens the connection that is going to hold the lock."""
        before = open_sockets()
        self.connection = self.open()
        self.sockets = open_sockets() - before

    def open(self):
        """A new connection, in autocommit."""
        try:
            return self.dial()
        except Problem:
            raise
        except Exception as error:
            raise self.refusal(error) from None

    def rows(self, sql, values=None, connection=None):
        cursor = (connection or self.connection).cursor()
        try:
            cursor.execute(sql, values) if values is not None else cursor.execute(sql)
            return [[plain_text(item) for item in row] for row in cursor.fetchall()] if cursor.description else []
        except self.driver.Error as error:
            raise self.failure(error) from None
        finally:
            cursor.close()

    def value(self, sql, values=None, connection=None):
        rows = self.rows(sql, values, connection)
        return rows[0][0] if rows else None

    def refusal(self, error):
        """Why no connection came about."""
        text = MASKER.mask(" ".join(str(error).split()))
        kind = self.classify(error, text)
        if kind is None:
            found = self.network()
            if found:
                return Problem(found[0], reason=found[1])
            if re.search(r"\bSSL\b|\bTLS\b|certificate", text, re.I):
                kind = "tls"
        return Problem(kind or "connect", reason=text)

    def failure(self, error):
        text = MASKER.mask(" ".join(str(error).split()))
        return Problem("grant" if self.denied(error, text) else "query", reason=text)

    def network(self):
        """What the plain network says, now that the driver failed: drivers word it in too many ways."""
        import socket

        if "hostaddr" in self.target["query"]:
            return None
        found = None
        for host in (self.target["host"] or "").split(","):
            if not host or host.startswith("/"):
                return None
            try:
                addresses = socket.getaddrinfo(host, self.target["port"] or self.default_port, 0, socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                found = ("resolve", str(error))
                continue
            for family, kind, protocol, _name, address in addresses:
                probe = socket.socket(family, kind, protocol)
                probe.settimeout(5)
                try:
                    probe.connect(address)
                    return None
                except OSError as error:
                    found = ("unreachable", str(error))
                finally:
                    probe.close()
        return found

    def keep_alive(self):
        """A firewall on the way must not forget the connection that holds the lock; a dead peer must show."""
        import socket

        for number in self.sockets:
            try:
                handle = socket.socket(fileno=os.dup(number))
            except OSError:
                continue
            for level, name, value in (
                (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
                (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
                (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
                (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
                (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 60000),
            ):
                with contextlib.suppress(OSError, AttributeError):
                    handle.setsockopt(level, getattr(socket, name), value)
            handle.close()

    def close(self):
        with contextlib.suppress(Exception):
            self.connection.close()

    def write_marker(self, state, seen, heads):
        row = {
            "id": 1,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": os.uname()[1],
            "state": state,
            "revision_from": seen or "",
            "revision_to": heads,
        }
        self.rows(
            f"CREATE TABLE IF NOT EXISTS {MARKER} (id integer PRIMARY KEY, started varchar(40), host varchar(255), "
            "state varchar(40), revision_from varchar(255), revision_to varchar(255))"
        )
        self.rows(f"DELETE FROM {MARKER}")
        names = sorted(row)
        self.rows(
            "INSERT INTO {} ({}) VALUES ({})".format(MARKER, ", ".join(names), ", ".join(["%s"] * len(names))),
            [row[name] for name in names],
        )

    def read_marker(self):
        names = ["started", "host", "state", "revision_from", "revision_to"]
        rows = self.rows("SELECT {} FROM {}".format(", ".join(names), MARKER))
        # Without a row: killed between the two statements that write it, before anything was migrated.
        return dict(zip(names, rows[0])) if rows else None

    def drop_marker(self):
        self.rows(f"DROP TABLE IF EXISTS {MARKER}")


class PostgreSQL(Server):
    default_port = 5432
    transactional = True

    def __init__(self, target, extra):
        super().__init__(target, extra)
        self.load({None: "psycopg2", "psycopg2": "psycopg2", "psycopg2cffi": "psycopg2cffi", "psycopg": "psycopg"})

    def dial(self):
        arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "dataops.airflow"}
        for name, option in (("dbname", "database"), ("user", "user"), ("password", "password"), ("port", "port")):
            if self.target[option] is not None:
                arguments[name] = self.target[option]
        if self.target["host"]:
            arguments["host"] = self.target["host"]
        for name, values in self.target["query"].items():
            if name == "host" and any(":" in value and "/" not in value for value in values):
                arguments["host"] = ",".join(value.partition(":")[0] for value in values)
                arguments["port"] = ",".join(value.partition(":")[2] or "5432" for value in values)
            else:
                arguments[name] = ",".join(values)
        arguments.update(self.extra)
        if self.driver.__name__ == "psycopg":
            # A prepared statement does not outlive a transaction behind a pooler.
            arguments["prepare_threshold"] = None
        connection = self.driver.connect(**arguments)
        connection.autocommit = True
        return connection

    def classify(self, error, text):
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        kinds = {"28P01": "password", "3D000": "database", "28000": "access", "42501": "grant", "53300": "slots"}
        if code in kinds:
            return kinds[code]
        for kind, pattern in (
            ("password", r"password authentication failed|SASL authentication failed|no password supplied"),
            ("database", r'database ".*" does not exist|no such database'),
            (
                "access",
                r'no pg_hba.conf entry|pg_hba.conf rejects|role ".*" does not exist|not permitted to log in'
                r"|(Peer|Ident|GSSAPI|certificate) authentication failed",
            ),
            ("grant", r"permission denied for database"),
            ("slots", r"remaining connection slots|too many (clients|connections)|no more connections allowed"),
        ):
            if re.search(pattern, text):
                return kind
        return None

    def denied(self, error, _text):
        return (getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)) == "42501"

    def product(self):
        text = self.value("SELECT version()")
        match = re.match(r"(\S+)(?:\s+\S+)*?\s+v?(\d[\d.]*)", text)
        return (match.group(1).lower(), match.group(2)) if match else (text.split(" ", 1)[0].lower(), "0")

    def limits(self):
        """What bounds the connections of this user: (text, number) pairs."""
        total, superusers, reserved, role, database = self.rows(
            "SELECT current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,"
            " coalesce(current_setting('reserved_connections', true), '0')::int,"
            " (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),"
            " (SELECT datconnlimit FROM pg_database WHERE datname = current_database())"
        )[0]
        server = f"max_connections {total} - superuser_reserved_connections {superusers}"
        if reserved:
            server += f" - reserved_connections {reserved}"
        found = [(server, total - superusers - reserved)]
        found += [("the user's CONNECTION LIMIT", role)] if role >= 0 else []
        return found + ([("the database's CONNECTION LIMIT", database)] if database >= 0 else [])

    def pooled(self):
        """A pooler gives its clients numbers of its own for what is a process of the server."""
        seen = self.connection.info.backend_pid
        return seen != self.value("SELECT pg_backend_pid()")

    def tables(self, schema):
        return [
            row[0]
            for row in self.rows(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p') AND (n.nspname = ANY (current_schemas(false)) OR n.nspname = %s)"
                " AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
                " AND d.objid = c.oid AND d.deptype = 'e')",
                [schema or ""],
            )
        ]

    def check_session(self):
        """A pooler that gives the server connection to someone else after each statement cannot hold a lock."""
        other = self.open()
        try:
            # Twice in a row on one connection: a pooler that deals its server connections in turn shows then.
            asked = [self.connection, self.connection, other, other, self.connection, other]
            seen = [(id(one), self.value("SELECT pg_backend_pid()", connection=one)) for one in asked]
        finally:
            other.close()
        pids = [pid for _one, pid in sorted(set(seen))]
        if len(pids) != 2 or pids[0] == pids[1]:
            raise Problem("pooler")

    def check_rights(self, tables):
        standby, read_only = self.rows("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')")[0]
        if standby or read_only == "on":
            raise Problem("read_only")
        schema, create = self.rows("SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")[0]
        if not create:
            raise Problem("grant", missing=["CREATE"], schema=schema or "public")
        owners = self.rows(
            "SELECT c.relname, pg_get_userbyid(c.relowner) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY (current_schemas(false))"
            " AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1"
        )
        foreign = [row for row in owners if row[0] in tables and row[0] not in NEUTRAL_TABLES]
        if foreign:
            raise Problem("owner", table=foreign[0][0], owner=foreign[0][1])

    def settle(self):
        """The lock's connection idles for hours, whatever limits the server sets for this user."""
        names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
        known = self.rows("SELECT name FROM pg_settings WHERE name = ANY (%s)", [names])
        for (name,) in known:
            self.rows(f"SET {name} = 0")
        self.keep_alive()

    def try_lock(self):
        return bool(self.value("SELECT pg_try_advisory_lock(%s, %s)", list(LOCK_KEYS)))

    def holds_lock(self):
        return bool(
            self.value(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
                " AND classid = %s AND objid = %s AND objsubid = 2",
                list(LOCK_KEYS),
            )
        )

    def lock_holder(self):
        rows = self.rows(
            "SELECT l.pid, coalesce(host(a.client_addr), 'a local process') FROM pg_locks l"
            " LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
            " AND l.classid = %s AND l.objid = %s AND l.objsubid = 2"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            list(LOCK_KEYS),
        )
        return f"server process {rows[0][0]}, from {rows[0][1]}" if rows else None

    def child_environment(self, tag):
        return {"PGAPPNAME": tag}

    def sessions(self):
        return None

    def end_orphans(self, tag, _before):
        """Ends what the killed migration still runs on the server. It rolls back."""
        for _attempt in range(60):
            if not self.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                " AND pid <> pg_backend_pid()",
                [tag],
            ):
                return
            time.sleep(POLL_SECONDS)

    def fingerprint(self):
        return None


class MySQL(Server):
    default_port = 3306
    quote = "`"
    transactional = False

    def __init__(self, target, extra):
        super().__init__(target, extra)
        self.load({None: "MySQLdb", "mysqldb": "MySQLdb", "pymysql": "pymysql", "mysqlconnector": "mysql.connector"})
        self.lock_name = None

    def dial(self):
        connector = self.driver.__name__ == "mysql.connector"
        arguments = {"connection_timeout" if connector else "connect_timeout": CONNECT_SECONDS}
        names = {"user": "user", "password": "password", "host": "host", "port": "port", "database": "database"}
        if self.driver.__name__ == "MySQLdb":
            names.update(password="passwd", database="db")
        for option, name in names.items():
            if self.target[option] is not None:
                arguments[name] = self.target[option]
        tls = {}
        for name, values in self.target["query"].items():
            value = values[-1]
            if connector:
                arguments[name] = flag(value) if value.lower() in ("true", "false") else value
            elif name in ("ssl_ca", "ssl_cert", "ssl_key", "ssl_capath", "ssl_cipher", "ssl_check_hostname"):
                tls[name[4:]] = flag(value) if name == "ssl_check_hostname" else value
            elif name in ("connect_timeout", "read_timeout", "write_timeout", "client_flag", "local_infile"):
                # None of these may cut the connection that holds the lock.
                if name not in ("read_timeout", "write_timeout"):
                    arguments[name] = int(flag(value)) if name == "local_infile" and not value.isdigit() else int(value)
            elif name == "compress":
                arguments[name] = flag(value)
            elif name not in ("use_unicode", "binary_prefix"):
                arguments[name] = value
        if connector:
            for name in ("connection_timeout", "connect_timeout"):
                if name in arguments:
                    arguments[name] = int(arguments[name])
        if tls:
            arguments["ssl"] = tls
        arguments.update(self.extra)
        connection = self.driver.connect(**arguments)
        self.rows("SET autocommit = 1", connection=connection)
        return connection

    @staticmethod
    def code(error):
        code = getattr(error, "errno", None)
        return code if isinstance(code, int) else (error.args[0] if error.args else None)

    def classify(self, error, _text):
        return {
            1044: "database_or_grant",
            1045: "password",
            1049: "database",
            1130: "access",
            1698: "access",
            1040: "slots",
            1203: "slots",
            1226: "slots",
            2026: "tls",
            3159: "tls",
            2059: "auth_plugin",
            2061: "auth_plugin",
            1251: "auth_plugin",
        }.get(self.code(error))

    def denied(self, error, _text):
        return self.code(error) in (1044, 1142, 1143, 1227)

    def product(self):
        version, comment = self.rows("SELECT VERSION(), @@version_comment")[0]
        product = "mariadb" if "mariadb" in (version + comment).lower() else "mysql"
        # Old servers put "5.5.5-" before the version for the sake of replication.
        return product, re.match(r"(?:5\.5\.5-(?=\d))?([\d.]*)", version).group(1) or "0"

    def limits(self):
        total, user = self.rows("SELECT @@global.max_connections, @@session.max_user_connections")[0]
        return [(f"max_connections {total}", total)] + ([(f"max_user_connections {user}", user)] if user else [])

    def pooled(self):
        """MySQL's proxies answer with the numbers that they gave: there is nothing to see."""
        return False

    def tables(self, _schema):
        return [
            row[0]
            for row in self.rows(
                "SELECT TABLE_NAME FROM information_schema.TABLES"
                " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
            )
        ]

    def check_session(self):
        """Nothing to see: GET_LOCK itself binds a connection of MySQL's proxies to one server."""

    def check_rights(self, _tables):
        needed = ["ALTER", "CREATE", "DELETE", "DROP", "INDEX", "INSERT", "REFERENCES", "SELECT", "UPDATE"]
        held = set()
        for (grant,) in self.rows("SHOW GRANTS"):
            match = re.match(r"GRANT (.+?) ON (?:TABLE )?(\*|`(?:[^`]|``)+`)\.(\*|`(?:[^`]|``)+`) TO ", grant)
            if match is None:
                if re.match(r"GRANT [`'\"\w].* TO ", grant) and " ON " not in grant:
                    # A role: what it may is not said here.
                    return
            elif match.group(3) == "*" and (match.group(2) == "*" or self.matches(match.group(2)[1:-1])):
                held.update(part.strip().upper() for part in match.group(1).split(","))
        if held.isdisjoint({"ALL", "ALL PRIVILEGES"}):
            missing = [name for name in needed if name not in held]
            if missing:
                raise Problem("grant", missing=missing)
        if self.value("SELECT @@global.read_only"):
            raise Problem("read_only")

    def matches(self, pattern):
        """Whether a grant's database pattern names this database."""
        parts = re.findall(r"\\.|.", pattern.replace("``", "`"))
        known = {"%": ".*", "_": "."}
        text = "".join(known.get(part) or re.escape(part[-1]) for part in parts)
        return re.match(text + r"\Z", self.target["database"], re.I) is not None

    def settle(self):
        self.rows("SET SESSION wait_timeout = 2147483, SESSION interactive_timeout = 2147483")
        self.keep_alive()

    def name_of_lock(self):
        if self.lock_name is None:
            import hashlib

            # Named locks belong to the whole server and have at most 64 characters.
            digest = hashlib.sha256(self.target["database"].lower().encode("utf-8")).hexdigest()
            self.lock_name = "dataops.airflow." + digest[:32]
        return self.lock_name

    def try_lock(self):
        return self.value("SELECT GET_LOCK(%s, 0)", [self.name_of_lock()]) == 1

    def holds_lock(self):
        return self.value("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", [self.name_of_lock()]) == 1

    def lock_holder(self):
        number = self.value("SELECT IS_USED_LOCK(%s)", [self.name_of_lock()])
        return f"server connection {number}" if number is not None else None

    def child_environment(self, _tag):
        return {}

    def sessions(self):
        return {row[0] for row in self.rows("SELECT ID FROM information_schema.PROCESSLIST")}

    def end_orphans(self, _tag, before):
        """Ends the DDL that the killed migration still runs on the server."""
        for _attempt in range(60):
            found = self.rows(
                "SELECT ID, INFO FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
            )
            found = [row[0] for row in found if re.match(r"\s*(ALTER|CREATE|DROP|RENAME)\b", row[1] or "", re.I)]
            found = [number for number in found if number not in before]
            if not found:
                return
            for number in found:
                with contextlib.suppress(Problem):
                    self.rows(f"KILL {number:d}")
            time.sleep(POLL_SECONDS)

    def fingerprint(self):
        """Tells whether a failed migration left a trace: there is no transaction that would have undone it."""
        with contextlib.suppress(Problem):
            self.rows("SET SESSION information_schema_stats_expiry = 0")
        tables = self.rows(
            "SELECT TABLE_NAME, UPDATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1"
        )
        columns = self.rows(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2"
        )
        keys = self.rows(
            "SELECT TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME FROM information_schema.STATISTICS"
            " WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2, 3"
        )
        rows = [row for row in tables if row[0] not in BUSY_TABLES]
        rows += [row for row in columns + keys if row[0] != MARKER]
        return repr(rows)


def open_database(config):
    """The server, connected to the metadata database that the configuration names."""
    text, origin = config.connection()
    MASKER.hide(text)
    target = parse_url(text, origin)
    MASKER.hide(target["password"], *target["query"].get("password", []))
    kinds = {"postgresql": PostgreSQL, "mysql": MySQL}
    if target["dialect"] not in kinds:
        raise Problem("dialect", dialect=target["dialect"], origin=origin)
    server = kinds[target["dialect"]](target, connect_arguments(config, package_root()))
    server.connection = server.open()
    return server


def marks(values):
    """The placeholders for `values` in a statement."""
    return ", ".join(["%s"] * len(values))


# --- comparing -----------------------------------------------------------------------------------------------------


class Run:
    target = None
    server = None
    version = None
    waited = False
    limit = None

    def __init__(self, request):
        self.request = request

    def prepare(self):
        """Finds out what the release wants and connects to its database."""
        self.root = package_root()
        self.config = Configuration(self.request["config"])
        text, origin = self.config.connection()
        MASKER.hide(text)
        self.target = parse_url(text, origin)
        MASKER.hide(self.target["password"], *self.target["query"].get("password", []))
        if self.target["dialect"] not in ("postgresql", "mysql"):
            raise Problem("dialect", dialect=self.target["dialect"], origin=origin)
        if self.target["database"] is None and "dbname" not in self.target["query"]:
            raise Problem("url", origin=origin, reason="it names no database")
        self.histories, self.ignored = histories(self.root, self.config)
        self.schema = self.config.plain("database", "sql_alchemy_schema")
        self.version = airflow_version(self.root)
        extra = connect_arguments(self.config, self.root)
        MASKER.hide(str(extra.get("password") or extra.get("passwd") or ""))
        self.server = (PostgreSQL if self.target["dialect"] == "postgresql" else MySQL)(self.target, extra)
        self.server.connect()
        self.product = self.server.product()

    def heads(self):
        return {table: " ".join(sorted(heads)) for table, (_known, heads) in sorted(self.histories.items())}

    def examine(self):
        """What the database holds now: state, revisions, tables, marker."""
        tables = self.server.tables(self.schema)
        found = {}
        for table in sorted(self.histories):
            rows = []
            if table in tables:
                rows = sorted(row[0] for row in self.server.rows(f"SELECT version_num FROM {table}"))
            if len(rows) > 1 and set(rows) != self.histories[table][1]:
                raise Problem("several_revisions", table=table, revisions=rows)
            found[table] = " ".join(rows) or None
        marked = MARKER in tables
        seen = {
            "revisions": found,
            "tables": tables,
            "marked": marked,
            "marker": self.server.read_marker() if marked else None,
        }
        others = sorted(set(tables) - NEUTRAL_TABLES)
        mine = bool(AIRFLOW_TABLES.intersection(tables))
        for table, revision in found.items():
            known, heads = self.histories[table]
            if revision is not None and not set(revision.split()) <= known | heads:
                raise Problem(
                    "unknown_revision",
                    table=table,
                    revision=revision,
                    version=self.version,
                    mine=mine,
                    tables=others[:5],
                )
        if all(revision == self.heads()[table] for table, revision in found.items()):
            seen["state"] = "current"
        elif found[CORE] is not None:
            seen["state"] = "behind"
        elif not others:
            seen["state"] = "empty"
        elif mine or marked:
            seen["state"] = "unversioned"
        elif self.server.lock_holder() is not None:
            # Another run creates the tables right now.
            seen["state"] = "unversioned"
        else:
            raise Problem("foreign", tables=others[:5])
        return seen

    def decide(self, seen):
        """Raises if an earlier run died half-way and repeating it would do harm. Call it with the lock held.

        On PostgreSQL a migration is undone as a whole; an initialisation creates all tables at once and then notes the
        revision, so that tables without one are fine if the marker says they are this release's.
        """
        marker = seen["marker"]
        if not self.server.transactional and marker and seen["state"] != "current":
            raise Problem("half_done", marker=marker, revision=seen["revisions"][CORE], product=self.product[0])
        if seen["state"] == "unversioned":
            if marker and marker["state"] == "empty" and marker["revision_to"] == self.heads()[CORE]:
                seen["state"] = "empty"
            else:
                raise Problem("unversioned")

    def lock(self):
        deadline = time.monotonic() + self.request["timeout"]
        while not self.server.try_lock():
            self.waited = True
            if orphaned(self.request):
                raise Problem("stopped")
            if time.monotonic() >= deadline:
                raise Problem("lock_timeout", seconds=self.request["timeout"], holder=self.server.lock_holder())
            time.sleep(POLL_SECONDS)

    def result(self, before, after, changed, **more):
        result = {
            "changed": changed,
            "state": before["state"],
            "before": before["revisions"],
            "after": after,
            "unfinished": before["marked"],
            "migrated": False,
            "waited": self.waited,
            "busy": False,
            "server": {"product": self.product[0], "version": self.product[1]},
            "ignored_managers": self.ignored,
            "limit": self.limit,
        }
        result.update(more)
        return result

    def work(self):
        self.check_support()
        self.check_connections()
        seen = self.examine()
        if seen["state"] == "current" and not seen["marked"]:
            return self.result(seen, seen["revisions"], False)
        self.server.check_session()
        self.server.check_rights(seen["tables"])
        if self.request["check"]:
            busy = self.server.lock_holder() is not None
            if not busy:
                self.decide(seen)
            elif seen["state"] == "unversioned":
                seen["state"] = "empty"
            return self.result(seen, self.heads(), True, busy=busy)
        self.server.settle()
        self.lock()
        seen = self.examine()
        if seen["state"] == "current" and not seen["marked"]:
            return self.result(seen, seen["revisions"], False)
        self.decide(seen)
        # An initialisation that was interrupted once remains one.
        self.server.write_marker(seen["state"], seen["revisions"][CORE], self.heads()[CORE])
        after = self.migrate(seen)
        return self.result(seen, after["revisions"], True, migrated=True)

    def check_support(self):
        product, version = self.product
        minimum = self.request["minimum_servers"].get(product)
        if minimum is not None and numbers(version) >= numbers(minimum):
            return
        if not self.request["allow_unsupported"]:
            raise Problem("unsupported", product=product, version=version, minimum=minimum, airflow=self.version)

    def check_connections(self):
        """Whether the server has room for all that the cluster opens."""
        limit, allowed = min(self.server.limits(), key=lambda pair: pair[1])
        self.limit = {"limit": limit, "allowed": allowed}
        needed = self.request.get("connections")
        if needed and allowed < sum(needed.values()) and not self.server.pooled():
            raise Problem("connections", needed=needed, **self.limit)

    def migrate(self, seen):
        """Runs the migration as a child and returns what the database holds afterwards."""
        before = self.server.fingerprint()
        # Tables that are all there may still lack what the end of an initialisation puts into them.
        initial = "empty" in (seen["state"], (seen["marker"] or {}).get("state"))
        command = self.request["initial_command" if initial else "command"]
        child = Child(self, command)
        rc, tail = child.run()
        held = self.regain()
        after = None
        try:
            after = self.examine()
        except Problem as problem:
            if rc == 0 or problem.kind in ("connect", "unreachable", "query"):
                raise
        if rc == 0 and held and after["state"] == "current":
            self.server.drop_marker()
            return after
        same = after is not None and after["revisions"] == seen["revisions"] and after["state"] == seen["state"]
        untouched = same and before == self.server.fingerprint()
        if untouched and seen["state"] != "current":
            # Nothing was done: the next run may try again.
            self.server.drop_marker()
        half = not self.server.transactional and not untouched
        facts = {"command": command, "rc": rc, "tail": tail, "seconds": self.request["timeout"]}
        facts.update(half_done=half, state=seen["state"])
        facts["revision"] = after["revisions"][CORE] if after else None
        if child.ended == "timeout":
            raise Problem("migration_timeout", **facts)
        if child.ended == "stopped":
            raise Problem("stopped", **facts)
        if rc != 0:
            raise Problem("migration_failed", **facts)
        if not held:
            raise Problem("lock_lost", **facts)
        raise Problem("not_migrated", wanted=self.heads()[CORE], origin=self.config.path, **facts)

    def regain(self):
        """Whether the lock is still, or again, this run's."""
        try:
            if self.server.holds_lock():
                return True
        except Exception:
            self.server.close()
            self.server.connect()
            self.server.settle()
        return self.server.try_lock()


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", str(version))]


# --- the migration -------------------------------------------------------------------------------------------------

STOPPED = []


def orphaned(request):
    """Whether nobody waits for the result any more: the module was killed, or this process was told to end."""
    return bool(STOPPED) or os.getppid() != request["parent"]


class Child:
    """The airflow command. It never outlives the lock.

    It inherits the socket of the lock's connection: should this process be killed, the server sees the connection end,
    and frees the lock, only when the command is gone as well. And it is killed when this process ends.
    """

    def __init__(self, run, command):
        self.server = run.server
        self.request = run.request
        self.command = command
        self.ended = None

    def run(self):
        import subprocess
        import tempfile

        tag = f"dataops.airflow migration {os.urandom(6).hex()}.{os.getpid()}"
        environment = dict(os.environ)
        environment.update(self.server.child_environment(tag))
        sessions = self.server.sessions()
        argv = [os.path.join(self.request["venv"], "bin", "airflow")] + self.command
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    argv,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),
                    pass_fds=sorted(self.server.sockets),
                )
            except OSError as error:
                return 127, str(error)
            try:
                rc = self.wait(process)
            finally:
                # Also when anything unforeseen happens here: the lock must not outlast its purpose.
                self.stop(process)
            if self.ended:
                with contextlib.suppress(Exception):
                    self.server.end_orphans(tag, sessions)
            output.seek(0, 2)
            output.seek(max(0, output.tell() - 4 * TAIL))
            text = output.read().decode("utf-8", "replace").strip()
        # Masked before it is cut, so that no part of a secret is left at the edge.
        return rc, MASKER.mask(text)[-TAIL:]

    def wait(self, process):
        import subprocess

        deadline = time.monotonic() + self.request["timeout"]
        ping = time.monotonic() + PING_SECONDS
        while True:
            try:
                return process.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            if orphaned(self.request) or time.monotonic() >= deadline:
                self.ended = "stopped" if orphaned(self.request) else "timeout"
                self.stop(process)
                return process.returncode
            if time.monotonic() >= ping:
                ping = time.monotonic() + PING_SECONDS
                try:
                    self.server.holds_lock()
                except Exception:
                    # Judged when the command has ended: to kill it now would do more harm.
                    ping = deadline

    def stop(self, process):
        """Ends the whole process group and waits for it."""
        import signal
        import subprocess

        if process.poll() is None:
            send(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_SECONDS)
        send(process.pid, signal.SIGKILL)
        process.wait()


def send(group, number):
    with contextlib.suppress(OSError):
        os.killpg(group, number)


def die_with_parent():
    """For the child between fork and exec: SIGKILL for it when its parent ends, however that happens."""
    import signal

    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    parent = os.getpid()

    def ask():
        prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


# --- entry ---------------------------------------------------------------------------------------------------------


def listen():
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: STOPPED.append(received))


def answer(work, secrets=()):
    """Prints what `work()` returns, or why it did not, as one JSON object: for other programs than this one."""
    # Whatever a library prints must not mix with the result.
    out = os.dup(1)
    os.dup2(2, 1)
    MASKER.hide(*secrets)
    try:
        result = work()
    except Problem as problem:
        result = {"problem": problem.kind, "facts": problem.facts}
    except Exception as error:
        # Neither a driver's nor SQLAlchemy's text may carry a secret out.
        text = MASKER.mask(str(getattr(error, "orig", None) or error))
        result = {"problem": "internal", "facts": {"reason": f"{type(error).__name__}: {text[:1000]}"}}
    os.write(out, (json.dumps(result) + "\n").encode("utf-8"))


def main(request):
    # Whatever a library prints must not mix with the result.
    out = os.dup(1)
    os.dup2(2, 1)
    run = Run(request)
    try:
        if not request["check"]:
            listen()
        run.prepare()
        result = run.work()
    except Problem as problem:
        result = {"problem": problem.kind, "facts": problem.facts}
    except Exception as error:
        # The traceback stays here: its last line may quote a value.
        text = MASKER.mask(f"{type(error).__name__}: {error}")
        result = {"problem": "internal", "facts": {"reason": text[:1000]}}
    target = run.target
    if target:
        result["target"] = {name: target[name] for name in ("dialect", "user", "host", "port", "database")}
        result["target"]["database"] = target["database"] or target["query"].get("dbname", [None])[-1]
        result["target"]["host"] = target["host"] or ",".join(target["query"].get("host", [])) or None
    result["airflow_version"] = run.version
    if run.server is not None and run.server.connection is not None:
        run.server.close()
    with contextlib.suppress(OSError):
        os.write(out, (json.dumps(result) + "\n").encode("utf-8"))


if "REQUEST" in globals():
    main(globals()["REQUEST"])
