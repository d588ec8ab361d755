# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from database_bench import (
    CA_BUNDLE,
    IMAGE,
    NAME,
    PASSWORD,
    REPOSITORY,
    SETUP,
    VENV,
    Bench,
    lock_file,
    remove,
    requirement,
    run,
    uv_program,
)


@pytest.fixture(scope="session")
def bench():
    remove()
    cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache/uv"))
    cache.mkdir(parents=True, exist_ok=True)
    lock = lock_file()
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    run("docker", "network", "create", NAME)
    try:
        run(
            *["docker", "run", "--detach", "--init", "--name", NAME, "--hostname", NAME, "--network", NAME],
            *["--volume", f"{REPOSITORY}:/repository:ro", "--volume", f"{cache}:/cache/uv"],
            *["--volume", f"{uv_program()}:/usr/local/bin/uv:ro", "--volume", f"{lock}:/lock.txt:ro"],
            *(["--volume", f"{CA_BUNDLE}:{CA_BUNDLE}:ro"] if CA_BUNDLE.exists() else []),
            *[word for name in proxies for word in ("--env", name)],
            *["--env", "UV_CACHE_DIR=/cache/uv", "--env", f"SSL_CERT_FILE={CA_BUNDLE}"],
            *["--env", "UV_LINK_MODE=copy", "--env", "PYTHONDONTWRITEBYTECODE=1", IMAGE, "sleep", "infinity"],
        )
        bench = Bench()
        release = subprocess.Popen(
            ["docker", "exec", "-i", NAME, "sh", "-eu", "-s"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        release.stdin.write(
            "uv venv -q --python /usr/bin/python3 /opt/ansible\n"
            "uv pip install -q --compile-bytecode --python /opt/ansible 'ansible-core>=2.19'\n"
            f"uv venv -q --python /usr/bin/python3 {VENV}\n"
            f"printf '%s\\n' 'apache-airflow[postgres,fab]=={bench.airflow_version}' "
            f"'{requirement(lock, 'pymysql')}' '{requirement(lock, 'aiomysql')}' > /tmp/requirements\n"
            f"uv pip install -q --compile-bytecode --python {VENV} --require-hashes -c /lock.txt -r /tmp/requirements\n"
        )
        release.stdin.close()
        bench.sh(SETUP)
        text = release.stdout.read()
        assert release.wait() == 0, text
        # Airflow 3 wants mysqlclient, which has no wheel. Debian's is built for the same interpreter.
        bench.sh(f"cp -r /usr/lib/python3/dist-packages/MySQLdb {VENV}/lib/python3*/site-packages/")
        bench.until("MariaDB", lambda: bench.sh("mariadb-admin ping", check=False).returncode == 0)
        quoted = PASSWORD.replace("'", "''")
        bench.postgres(f"CREATE ROLE airflow LOGIN PASSWORD '{quoted}';")
        bench.mariadb(f"CREATE USER airflow@'127.0.0.1' IDENTIFIED BY '{quoted}';")
        bench.write("/etc/pgbouncer/userlist.txt", '"airflow" "{}"\n'.format(PASSWORD.replace('"', '""')), "644")
        for robin in (0, 1):
            bench.sh(f"runuser -u postgres -- pgbouncer -d /etc/pgbouncer/{robin}.ini")
        yield bench
    finally:
        remove()


@pytest.fixture(scope="session")
def initialised(bench):
    """A PostgreSQL database at the release's revision: a template for others."""
    name = bench.postgres_database()
    result = bench.module(bench.deployment(name))
    assert result.get("changed"), result
    return name


@pytest.fixture(scope="session")
def outdated(bench, initialised):
    """A PostgreSQL database as Airflow 3.2 left it: a template for others."""
    name = bench.postgres_database(template=initialised)
    bench.airflow(bench.deployment(name), "db downgrade --yes --to-version 3.2.0")
    return name


@pytest.fixture(scope="session")
def mariadb_outdated(bench):
    """A dump of a MariaDB database as Airflow 3.2 left it."""
    name = bench.mariadb_database()
    config = bench.deployment(name, "mysql")
    result = bench.module(config, allow_unsupported=True)
    assert result.get("changed"), result
    bench.airflow(config, "db downgrade --yes --to-version 3.2.0")
    bench.sh(f"mariadb-dump --skip-extended-insert {name} > /tmp/outdated.sql")
    return "/tmp/outdated.sql"
