# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One container with PostgreSQL, MariaDB, PgBouncer, a real Airflow release and Ansible.

Environment: DOCKER_IMAGE, the base image; UV_CACHE_DIR, a directory of downloads that is kept; UV, the uv program.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "dataops-airflow-test-database"
IMAGE = os.environ.get("DOCKER_IMAGE", "dataops-airflow-base:bookworm")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
VENV = "/opt/airflow/releases/tested"
DEPLOYMENTS = "/opt/airflow/deployments"
HOME = "/var/lib/airflow"
# Each character of it means something else to a URL, a shell or a configuration file.
PASSWORD = "p@s:s/w%r$HOME d?#&+'"
QUOTED = "p%40s%3As%2Fw%25r%24HOME%20d%3F%23%26%2B%27"

SETUP = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get -qq update
apt-get -qq install -y --no-install-recommends postgresql mariadb-server python3-mysqldb pgbouncer procps >/dev/null
useradd --system --create-home --home-dir /var/lib/airflow airflow
mkdir -p /opt/airflow/releases /opt/airflow/deployments

cat > /etc/postgresql/15/main/conf.d/test.conf <<END
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 60
idle_in_transaction_session_timeout = 5s
idle_session_timeout = 0
END
cat > /etc/postgresql/15/main/pg_hba.conf <<END
local all postgres peer
host all all 127.0.0.1/32 scram-sha-256
END
pg_ctlcluster 15 main start

cat > /etc/mysql/mariadb.conf.d/99-test.cnf <<END
[mariadbd]
innodb_flush_log_at_trx_commit = 0
skip-log-bin
skip-name-resolve
explicit_defaults_for_timestamp = 1
wait_timeout = 600
END
mkdir -p /run/mysqld
chown mysql: /run/mysqld
setsid mariadbd --user=mysql >/var/log/mariadb.log 2>&1 </dev/null &

mkdir -p /run/postgresql
for robin in 0 1; do
cat > /etc/pgbouncer/$robin.ini <<END
[databases]
* = host=127.0.0.1 port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 643$robin
unix_socket_dir =
pidfile = /run/postgresql/pgbouncer$robin.pid
auth_type = plain
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
server_round_robin = $robin
ignore_startup_parameters = extra_float_digits
END
done
chmod 755 /etc/pgbouncer
chmod 644 /etc/pgbouncer/*.ini
"""


def run(*argv, check=True, timeout=600, data=None):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, input=data, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"{shlex.join(argv)[:300]}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def remove():
    subprocess.run(["docker", "rm", "--force", "--volumes", NAME], capture_output=True, check=False)
    subprocess.run(["docker", "network", "rm", NAME], capture_output=True, check=False)


def lock_file():
    found = sorted((REPOSITORY / "roles/airflow_install/files/locks").glob("3.*.txt"))
    assert found, "no lock of an Airflow 3 release in roles/airflow_install/files/locks"
    return found[-1]


def requirement(lock, name):
    """`name` as the lock pins it."""
    return re.search(rf"^{re.escape(name)}==(\S+)", lock.read_text(), re.M).group(0)


def uv_program():
    beside = Path(sys.executable).with_name("uv")
    found = os.environ.get("UV") or (str(beside) if beside.exists() else shutil.which("uv"))
    assert found, "uv is needed: set UV to its path"
    return found


class Bench:
    """The container, and what the tests do in it."""

    def __init__(self):
        self.airflow_version = lock_file().stem
        self.counter = 0

    def sh(self, script, check=True, user="root", timeout=600):
        return run("docker", "exec", "--user", user, NAME, "sh", "-c", script, check=check, timeout=timeout)

    def start(self, script):
        """Starts `script` and returns at once."""
        return subprocess.Popen(
            ["docker", "exec", NAME, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def write(self, path, text, mode="640"):
        run(
            *["docker", "exec", "-i", NAME, "sh", "-c"],
            f"mkdir -p $(dirname {path}) && cat > {path} && chown root:airflow {path} && chmod {mode} {path}",
            data=text,
        )

    # --- servers

    def postgres(self, sql, database="postgres"):
        done = run("docker", "exec", "-i", "--user", "postgres", NAME, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1",
                   "-d", database, data=sql)  # fmt: skip
        return done.stdout.strip()

    def mariadb(self, sql, database=""):
        return run("docker", "exec", "-i", NAME, "mariadb", "-N", "-B", database, data=sql).stdout.strip()

    def end_sleep(self):
        """Ends the MariaDB sessions that sleep, and so what they lock."""
        for number in self.mariadb(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT sleep%'"
        ).split():
            self.mariadb(f"KILL {number}")

    def name(self):
        self.counter += 1
        return f"airflow_{self.counter}"

    def postgres_database(self, template="template0", grant=True):
        name = self.name()
        # The poolers keep sessions, and a database with sessions is no template.
        self.postgres(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'")
        self.postgres(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8' OWNER "
                      f"{'airflow' if grant else 'postgres'};")  # fmt: skip
        return name

    def mariadb_database(self, dump=None):
        name = self.name()
        self.mariadb(f"CREATE DATABASE {name} CHARACTER SET utf8mb4; GRANT ALL ON `{name}`.* TO airflow@'127.0.0.1';")
        if dump:
            self.sh(f"mariadb {name} < {dump}")
        return name

    # --- deployments

    def deployment(
        self, database, dialect="postgresql", password=QUOTED, host="127.0.0.1", port=None, user="airflow", fernet=""
    ):
        """Writes a configuration and returns its path. Secrets are files, as in a real deployment."""
        scheme, default = {
            "postgresql": ("postgresql+psycopg2", 5432),
            "psycopg": ("postgresql+psycopg", 5432),
            "mysql": ("mysql", 3306),
            "pymysql": ("mysql+pymysql", 3306),
        }[dialect]
        self.counter += 1
        folder = f"{DEPLOYMENTS}/{self.counter}"
        url = f"{scheme}://{user}:{password}@{host}:{port or default}/{database}"
        self.write(f"{folder}/secrets/connection", url)
        self.write(f"{folder}/secrets/fernet_key", fernet)
        self.write(
            f"{folder}/airflow.cfg",
            f"[core]\nload_examples = False\nfernet_key_cmd = cat {folder}/secrets/fernet_key\n"
            "auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager\n"
            f"[database]\nsql_alchemy_conn_cmd = cat {folder}/secrets/connection\n",
        )
        self.sh(f"chgrp -R airflow {folder} && chmod 750 {folder} {folder}/secrets")
        return f"{folder}/airflow.cfg"

    def airflow(self, config, arguments, check=True):
        return self.sh(
            f"AIRFLOW_HOME={HOME} AIRFLOW_CONFIG={config} PATH={VENV}/bin:$PATH airflow {arguments}",
            check=check,
            user="airflow",
        )

    # --- the modules

    def command(self, config, check=False, verbose="", name="airflow_db", **options):
        options = dict({"venv": VENV, "home": HOME, "config": config}, **options)
        flags = ("--check " if check else "") + verbose
        return (
            "ANSIBLE_NOCOLOR=1 ANSIBLE_COLLECTIONS_PATH=/repository/collections ANSIBLE_LOCALHOST_WARNING=false "
            "ANSIBLE_INVENTORY_UNPARSED_WARNING=false /opt/ansible/bin/ansible localhost --connection local "
            "--extra-vars ansible_python_interpreter=/usr/bin/python3 --diff "
            f"{flags} --module-name dataops.airflow.{name} --args {shlex.quote(json.dumps(options))}"
        )

    def module(self, config, ansible=False, check=False, name="airflow_db", **options):
        """The module's result: as Ansible runs it, or, in a third of the time, from its file."""
        if ansible:
            return parse(self.sh(self.command(config, check=check, name=name, **options), check=False).stdout)
        arguments = dict({"venv": VENV, "home": HOME, "config": config, "_ansible_check_mode": check}, **options)
        arguments["_ansible_remote_tmp"] = "/tmp"
        done = run("docker", "exec", "-i", NAME, "/opt/ansible/bin/python", "-c", DIRECTLY, name,
                   data=json.dumps(arguments), check=False)  # fmt: skip
        assert done.stdout.strip(), done.stderr
        result = json.loads(done.stdout.strip().splitlines()[-1])
        return dict({"failed": False}, **result)

    def fails(self, config, **options):
        result = self.module(config, **options)
        assert result["failed"], result
        for secret in (PASSWORD, QUOTED, "not-the-password"):
            assert secret not in json.dumps(result)
        return result["msg"]

    def until(self, what, condition, timeout=60):
        """Waits until `condition()` is true, and returns it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        processes = self.sh("ps -eo pid,ppid,etimes,args").stdout
        pytest.fail(f"not within {timeout} s: {what}\n{processes}")


DIRECTLY = """
import importlib, json, sys
sys.path.insert(0, "/repository/collections")
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module("ansible_collections.dataops.airflow.plugins.modules." + sys.argv[1])
with patch_module_args(json.load(sys.stdin)):
    module.main()
"""


def parse(output):
    match = re.search(r"^localhost \| (\w+)!? => (\{.*)", output, re.S | re.M)
    assert match, output
    result, _end = json.JSONDecoder().raw_decode(match.group(2))
    result["failed"] = match.group(1) in ("FAILED", "UNREACHABLE")
    # Ansible takes the diff out of the result and shows it before.
    result["shown"] = output[: match.start()]
    return result
