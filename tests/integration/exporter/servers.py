# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers with the servers that hold metadata databases, and the Redis that queues are in.

DOCKER_IMAGE is the base image of most; MySQL, which Debian has in sid alone, is on the one of trixie.
"""

from __future__ import annotations

import os
import subprocess

from prometheus import wait

PREFIX = "dataops-airflow-test-exporter-"
IMAGE = os.environ.get("DOCKER_IMAGE", "dataops-airflow-base:bookworm")
# Each character of it means something else to a URL, a shell, YAML or a configuration file.
PASSWORD = "p@s:s/w%r$HOME d?#&+'"
ADMIN = "admin_of_the_server"

HOST = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
"""
# Without the clients of the collection, check mode could not look.
CLIENTS = "python3-psycopg2 python3-pymysql python3-cryptography "
INSTALL = "apt-get -qq update && apt-get -qq install -y --no-install-recommends " + CLIENTS
POSTGRESQL = r"""
cat > /etc/postgresql/15/main/conf.d/test.conf <<END
listen_addresses = '*'
max_connections = 60
fsync = off
synchronous_commit = off
timezone = 'Asia/Kolkata'
END
echo "host all all all scram-sha-256" >> /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
"""
# The distribution's own packages are preferred, and what its index says of its age is wrong now and then.
SID = r"""
printf 'Package: *\nPin: release n=sid\nPin-Priority: 100\n' > /etc/apt/preferences.d/sid
sed -nE '/^deb .* trixie /{s#^deb (\[[^]]*\] )?([^ ]+) .*#deb [check-valid-until=no] \2 sid main#p;q}' \
    /etc/apt/sources.list > /etc/apt/sources.list.d/sid.list
"""


def run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900, **options)
    assert done.returncode == 0, f"{argv[:4]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


class Server:
    """A container of its own."""

    image = IMAGE
    port = 0

    def __init__(self):
        self.container = PREFIX + self.name
        proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
        self.remove()
        run(
            *["docker", "run", "--detach", "--init", "--name", self.container],
            *[word for name in proxies for word in ("--env", name)],
            *[self.image, "sleep", "infinity"],
        )
        self.sh(HOST + self.setup)
        self.start()
        self.administer()
        every = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.address = run("docker", "inspect", "--format", every, self.container)

    def remove(self):
        subprocess.run(["docker", "rm", "--force", "--volumes", self.container], capture_output=True, check=False)

    def sh(self, script):
        return run("docker", "exec", "--interactive", self.container, "sh", "-e", input=script)

    def start(self):
        pass

    def administer(self):
        pass

    def asks(self, user, database):
        """A client of a user's, who logs in with the password. It reads statements."""
        argv = ["docker", "exec", "--interactive", "--env", "SECRET=" + PASSWORD, self.container]
        return subprocess.Popen(
            [*argv, "sh", "-c", self.client(user, database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


class Redis(Server):
    name = "redis"
    setup = "apt-get -qq update && apt-get -qq install -y --no-install-recommends redis-server >/dev/null\n"

    def start(self):
        settings = f'requirepass "{PASSWORD}"\nbind *\nsave ""\ndaemonize yes\n'
        self.sh(f"redis-server - >/dev/null <<'END'\n{settings}END\n")

    def stop(self):
        self.sh("pkill -x redis-server; while pgrep -x redis-server >/dev/null; do sleep 0.1; done")

    def length(self, queue):
        return int(self.sh(f"redis-cli --no-auth-warning -a \"$(cat <<'END'\n{PASSWORD}\nEND\n)\" llen {queue}"))


class PostgreSQL(Server):
    name = kind = "postgresql"
    port = 5432
    driver = "postgresql+psycopg2"
    limit = 60 - 3
    setup = INSTALL + "postgresql >/dev/null\n" + POSTGRESQL

    def administer(self):
        secret = PASSWORD.replace("'", "''")
        self.sql(f"CREATE ROLE {ADMIN} LOGIN SUPERUSER PASSWORD '{secret}'; CREATE ROLE airflow LOGIN PASSWORD 'pw'")

    def sql(self, statements, database="postgres"):
        argv = ["docker", "exec", "--interactive", "--user", "postgres", self.container, "psql", "-XAtq"]
        return run(*argv, "-v", "ON_ERROR_STOP=1", "-d", database, input=statements)

    def create(self, name, _character_set):
        self.sql(f"CREATE DATABASE {name} OWNER airflow ENCODING 'UTF8' TEMPLATE template0")

    def start(self):
        self.sh("pg_ctlcluster 15 main status >/dev/null || pg_ctlcluster 15 main start")

    def stop(self):
        self.sh("pg_ctlcluster 15 main stop --mode immediate")

    def now(self):
        return float(self.sql("SELECT extract(epoch FROM now())"))

    def connections(self, user):
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE usename LIKE '{user}'"))

    def rights(self, user, database):
        """What a user may, on the server and in a database."""
        return self.sql(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit"
            f" FROM pg_roles WHERE rolname = '{user}';"
            "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
            f" WHERE grantee = '{user}' ORDER BY 1, 2",
            database,
        ).splitlines()

    def lock(self, table):
        return f"BEGIN; LOCK TABLE {table}; SELECT pg_sleep(20);"

    def client(self, user, database):
        return f'PGPASSWORD="$SECRET" psql -XAtq -h 127.0.0.1 -U {user} -d {database} -v ON_ERROR_STOP=1'


class MariaDB(Server):
    name, kind = "mariadb", "mysql"
    port = 3306
    driver = "mysql+pymysql"
    limit = 151
    program, daemon = "mariadb", "mariadbd"
    setup = INSTALL + "mariadb-server >/dev/null\n"

    def administer(self):
        secret = PASSWORD.replace("'", "''")
        self.sql(
            f"CREATE USER {ADMIN}@'%' IDENTIFIED BY '{secret}'; GRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;"
            "CREATE USER airflow@'%' IDENTIFIED BY 'pw';"
        )

    def alive(self):
        argv = ["docker", "exec", self.container, self.program, "-e", "SELECT 1"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def sql(self, statements, database=""):
        argv = ["docker", "exec", "--interactive", self.container, self.program, "-N", "-B"]
        return run(*argv, *([database] if database else []), input=statements)

    def create(self, name, character_set):
        self.sql(f"CREATE DATABASE {name} CHARACTER SET {character_set}; GRANT ALL ON {name}.* TO airflow@'%'")

    def start(self):
        self.sh(
            "mkdir -p /run/mysqld; chown mysql: /run/mysqld; "
            f"setsid {self.daemon} --user=mysql --bind-address=0.0.0.0 --default-time-zone=+05:30 --skip-log-bin"
            " --explicit-defaults-for-timestamp=1 --innodb-flush-log-at-trx-commit=0"
            " >/var/log/server.log 2>&1 </dev/null &"
        )
        wait(self.alive, "the server does not start")

    def stop(self):
        self.sh(f"pkill -KILL -x {self.daemon}; while pgrep -x {self.daemon} >/dev/null; do sleep 0.1; done")

    def now(self):
        return float(self.sql("SELECT UNIX_TIMESTAMP(NOW(6))"))

    def connections(self, user):
        return int(self.sql(f"SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER LIKE '{user}'"))

    def rights(self, user, database):
        lines = self.sql(f"SHOW GRANTS FOR {user}; SELECT max_user_connections FROM mysql.user WHERE user = '{user}'")
        return sorted(line.partition(" IDENTIFIED")[0] for line in lines.splitlines())

    def lock(self, table):
        return f"LOCK TABLES {table} WRITE; SELECT sleep(20);"

    def client(self, user, database):
        return f'MYSQL_PWD="$SECRET" {self.program} -N -B -h 127.0.0.1 -u {user} {database}'


class MySQL(MariaDB):
    name = "mysql"
    image = "dataops-airflow-base:trixie"
    program, daemon = "mysql", "mysqld"
    setup = SID + INSTALL + ">/dev/null\n"
    setup += "apt-get -qq install -y --no-install-recommends --target-release sid mysql-server >/dev/null\n"


SERVERS = {server.name: server for server in (PostgreSQL, MariaDB, MySQL)}
