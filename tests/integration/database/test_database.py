# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dataops.airflow.airflow_db on real servers, with a real Airflow release."""

from __future__ import annotations

import pytest
from database_bench import PASSWORD, QUOTED, VENV, parse

MARKER = "dataops_airflow_migration"
HEAD = "d2f4e1b3c5a7"
OLD = "1d6611b6ab7c"
FAB = "02ca36b0235b"
# No component runs: what the server shows is of the migration.
MIGRATIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dataops.airflow migration%'"
LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' AND granted"
)


def revisions(core, fab=FAB):
    return {"alembic_version": core, "alembic_version_fab": fab}


def assert_unchanged(result):
    assert (result["changed"], result["state"], result["migrated"]) == (False, "current", False), result


# --- states


def test_postgresql_from_empty(bench):
    name = bench.postgres_database()
    config = bench.deployment(name)
    foreseen = bench.module(config, ansible=True, check=True)
    assert foreseen["changed"] and not foreseen["migrated"]
    assert bench.postgres("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "0"
    result = bench.module(config, ansible=True)
    assert (result["changed"], result["state"], result["migrated"]) == (True, "empty", True)
    for key in ("changed", "state", "before", "after", "server", "shown"):
        assert foreseen[key] == result[key]
    assert result["before"] == revisions(None, None) and result["after"] == revisions(HEAD)
    assert result["server"]["product"] == "postgresql"
    bench.airflow(config, "db check-migrations --migration-wait-timeout 0")
    assert bench.postgres(f"SELECT to_regclass('{MARKER}') IS NULL", name) == "t"
    for check in (True, False):
        assert_unchanged(bench.module(config, ansible=True, check=check))


def test_postgresql_behind(bench, outdated):
    config = bench.deployment(bench.postgres_database(template=outdated))
    foreseen = bench.module(config, ansible=True, check=True)
    result = bench.module(config, ansible=True)
    assert foreseen["shown"] == result["shown"]
    for line in (f"-airflow: {OLD}", f"+airflow: {HEAD}", f" fab: {FAB}"):
        assert f"{line}\n" in result["shown"]
    assert result["state"] == "behind" and result["migrated"]
    bench.airflow(config, "db check-migrations --migration-wait-timeout 0")
    assert_unchanged(bench.module(config))


def test_the_other_driver(bench, initialised):
    assert_unchanged(bench.module(bench.deployment(initialised, "psycopg")))


def test_mariadb(bench, mariadb_outdated):
    name = bench.mariadb_database(mariadb_outdated)
    config = bench.deployment(name, "mysql")
    assert "does not support MariaDB 10" in bench.fails(config)
    foreseen = bench.module(config, check=True, allow_unsupported=True)
    assert foreseen["before"] == revisions(OLD) and foreseen["after"] == revisions(HEAD)
    result = bench.module(config, allow_unsupported=True)
    assert (result["changed"], result["state"], result["after"]) == (True, "behind", revisions(HEAD))
    assert "allow_unsupported is set" in str(result["warnings"])
    assert MARKER not in bench.mariadb("SHOW TABLES", name)
    assert_unchanged(bench.module(config, allow_unsupported=True))
    assert_unchanged(bench.module(bench.deployment(name, "pymysql"), minimum_servers={"mariadb": "10.5"}))


# --- several runs


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_two_at_once(bench, dialect):
    name = bench.postgres_database() if dialect == "postgresql" else bench.mariadb_database()
    config = bench.deployment(name, dialect)
    command = bench.command(config, allow_unsupported=True)
    both = [bench.start(command) for _number in range(2)]
    results = [parse(one.communicate(timeout=200)[0]) for one in both]
    assert not any(result["failed"] for result in results), results
    assert sorted(result["changed"] for result in results) == [False, True]
    loser = next(result for result in results if not result["changed"])
    assert loser["waited"] and not loser["migrated"] and loser["before"] == revisions(HEAD)


# --- killed


def modules(bench):
    """Process ids of the module, and of the helper it started."""
    found = {}
    for line in bench.sh("ps -eo pid,args").stdout.splitlines()[1:]:
        pid, _space, args = line.strip().partition(" ")
        if "AnsiballZ_airflow_db" in args and "/bin/sh" not in args:
            found.setdefault("module", []).append(pid)
        if f"{VENV}/bin/python -I -c" in args:
            found.setdefault("helper", []).append(pid)
        if (
            f"{VENV}/bin/airflow db migrate" in args
            or "bin/airflow" in args.split("db migrate")[0]
            and "db migrate" in args
        ):
            found.setdefault("migration", []).append(pid)
    return found


@pytest.mark.parametrize("victim", ["module", "helper"])
def test_killed_half_way_on_postgresql(bench, outdated, victim):
    name = bench.postgres_database(template=outdated)
    config = bench.deployment(name)
    # The migration stops before this table, with half of its revisions done.
    blocker = bench.start(
        f"""su postgres -c "psql -qc 'BEGIN; LOCK TABLE asset_partition_dag_run; SELECT pg_sleep(120)' {name}" """
    )
    run = bench.start(bench.command(config))
    try:
        waiting = f"{MIGRATIONS} AND wait_event_type = 'Lock'"
        bench.until("a migration that waits for the table", lambda: bench.postgres(waiting) != "0")
        assert bench.postgres("SELECT version_num FROM alembic_version", name) not in (OLD, HEAD)
        locks = f"{LOCKS} AND datname = '{name}' AND classid = 1684108385"
        assert bench.postgres(locks) == "1"
        bench.sh("kill -9 " + " ".join(modules(bench)[victim]))
        bench.until("its end", lambda: not modules(bench).get("migration"))
        bench.until("the end of the lock", lambda: bench.postgres(locks) == "0")
        if victim == "module":
            # Also on the server nothing of it was left when the lock was given up.
            assert bench.postgres(MIGRATIONS) == "0"
    finally:
        bench.postgres(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        run.communicate(timeout=60)
        blocker.communicate(timeout=60)
    assert bench.postgres(f"SELECT state FROM {MARKER}", name) == "behind"
    result = bench.module(config)
    assert not result.get("failed"), result
    assert result["changed"] and result["after"] == revisions(HEAD), result
    assert_unchanged(bench.module(config))


def test_killed_half_way_on_mariadb(bench, mariadb_outdated):
    name = bench.mariadb_database(mariadb_outdated)
    config = bench.deployment(name, "mysql")
    blocker = bench.start(
        f'mariadb {name} -e "START TRANSACTION; SELECT count(*) FROM asset_partition_dag_run; SELECT sleep(120)"'
    )
    run = bench.start(bench.command(config, allow_unsupported=True))
    try:
        waiting = (
            "SELECT count(*) FROM information_schema.PROCESSLIST "
            f"WHERE DB = '{name}' AND STATE LIKE 'Waiting for table metadata lock%'"
        )
        bench.until("a migration that waits for the table", lambda: bench.mariadb(waiting) != "0")
        assert bench.mariadb("SELECT version_num FROM alembic_version", name) not in (OLD, HEAD)
        warnings = bench.module(config, check=True, allow_unsupported=True)["warnings"]
        assert "Another run migrates" in str(warnings)
        bench.sh("kill -9 " + " ".join(modules(bench)["module"]))
        bench.until("its end", lambda: not modules(bench))
        assert bench.mariadb(waiting) == "0"
    finally:
        bench.end_sleep()
        run.communicate(timeout=60)
        blocker.communicate(timeout=60)
    for check in (True, False):
        message = bench.fails(config, check=check, allow_unsupported=True)
        assert "A migration of this database died half-way, and MariaDB cannot undo it" in message
        assert f"from revision {OLD} to {HEAD}" in message and f"{name} < backup.sql" in message
    # What the message says to do helps.
    bench.mariadb(f"DROP DATABASE {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4;")
    bench.sh(f"mariadb {name} < {mariadb_outdated}")
    assert bench.module(config, allow_unsupported=True)["after"] == revisions(HEAD)


def test_initialisation_killed_on_mariadb(bench):
    name = bench.mariadb_database()
    config = bench.deployment(name, "mysql")
    run = bench.start(bench.command(config, allow_unsupported=True))
    tables = f"SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}'"
    bench.until("some tables", lambda: int(bench.mariadb(tables)) > 5)
    bench.sh("kill -9 " + " ".join(sum(modules(bench).values(), [])))
    run.communicate(timeout=60)
    assert "The database was empty before, so empty it again" in bench.fails(config, allow_unsupported=True)


def test_migration_timeout(bench, outdated):
    name = bench.postgres_database(template=outdated)
    config = bench.deployment(name)
    blocker = bench.start(f"""su postgres -c "psql -qc 'BEGIN; LOCK TABLE dag; SELECT pg_sleep(120)' {name}" """)
    try:
        held = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'LOCK TABLE dag;' AND state = 'active'"
        bench.until("the lock on the table", lambda: bench.postgres(f"{held} AND pid <> pg_backend_pid()") != "0")
        message = bench.fails(config, timeout=8)
        assert "The migration took longer than 8 seconds and was ended" in message
        assert bench.postgres(MIGRATIONS) == "0" and not modules(bench)
    finally:
        bench.postgres(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        blocker.communicate(timeout=60)
    result = bench.module(config)
    assert result.get("changed"), result


# --- refused


def test_connections_that_fail(bench, initialised):
    where = f"database {initialised} on 127.0.0.1 port 5432 as user airflow"
    assert bench.fails(bench.deployment(initialised, password="not-the-password")).startswith(
        f"airflow_database_password: The database server refuses the password: {where}."
    )
    assert 'CREATE DATABASE "missing"' in bench.fails(bench.deployment("missing"))
    message = bench.fails(bench.deployment(initialised, port=5999))
    assert "does not answer" in message and "port 5999" in message and "Connection refused" in message
    assert "does not resolve on this host" in bench.fails(bench.deployment(initialised, host="db.invalid"))


def test_mariadb_connections_that_fail(bench):
    name = bench.mariadb_database()
    for dialect in ("mysql", "pymysql"):
        assert "refuses the password" in bench.fails(bench.deployment(name, dialect, password="not-the-password"))
        assert "does not answer" in bench.fails(bench.deployment(name, dialect, port=5999))
    assert "does not exist, or the user may not use it" in bench.fails(bench.deployment("missing", "mysql"))
    bench.mariadb(
        f"REVOKE ALL ON `{name}`.* FROM airflow@'127.0.0.1'; GRANT SELECT ON `{name}`.* TO airflow@'127.0.0.1';"
    )
    message = bench.fails(bench.deployment(name, "mysql"), allow_unsupported=True)
    assert "missing: ALTER, CREATE," in message and f"GRANT ALL PRIVILEGES ON `{name}`.*" in message


def test_missing_grant(bench):
    name = bench.postgres_database(grant=False)
    config = bench.deployment(name)
    for check in (True, False):
        assert 'GRANT ALL ON SCHEMA public TO "airflow"; (in the database' in bench.fails(config, check=check)
    bench.postgres("GRANT ALL ON SCHEMA public TO airflow", name)
    result = bench.module(config)
    assert result.get("changed"), result


def test_revisions_that_are_refused(bench, initialised):
    name = bench.postgres_database(template=initialised)
    config = bench.deployment(name)
    for revision, words in (
        ("ffffffffffff", "neither Airflow 3.3.2 nor this collection knows"),
        ("03afc6b6f902", "of Airflow 1.10.13. Migrate with a release from 2.7 to 2.11 first"),
    ):
        bench.postgres(f"UPDATE alembic_version SET version_num = '{revision}'", name)
        assert words in bench.fails(config)
    bench.postgres("DELETE FROM alembic_version", name)
    assert "holds tables but no revision" in bench.fails(config)


def test_newer_database(bench, initialised):
    """The release as it was one minor version ago: its later migration files are not there yet."""
    older = "/opt/airflow/releases/older"
    bench.sh(
        f"cp -a --link {VENV} {older} && cd {older}/lib/python3*/site-packages "
        "&& rm airflow/migrations/versions/*_3_3_0_*.py "
        "&& mv apache_airflow_core-*.dist-info apache_airflow_core-3.2.2.dist-info"
    )
    message = bench.fails(bench.deployment(initialised), venv=older)
    assert f"alembic_version is at {HEAD}, of Airflow 3.3.0; the release is Airflow 3.2.2" in message
    bench.sh(f"rm -rf {older}")


def test_foreign_database(bench):
    name = bench.postgres_database()
    bench.postgres("CREATE TABLE orders (id integer); GRANT SELECT ON orders TO airflow;", name)
    assert "not empty, and not Airflow's" in bench.fails(bench.deployment(name))


@pytest.mark.parametrize("port", [6430, 6431])
def test_pooler_in_transaction_mode(bench, initialised, outdated, port):
    for check in (True, False):
        message = bench.fails(bench.deployment(outdated, port=port), check=check)
        assert "There is a pooler in transaction mode before the database" in message
    assert_unchanged(bench.module(bench.deployment(initialised, port=port)))


@pytest.mark.parametrize("dialect", ["postgresql", "psycopg"])
def test_too_few_connections_of_postgresql(bench, initialised, dialect):
    name = bench.postgres_database(template=initialised)
    config = bench.deployment(name, dialect)
    assert_unchanged(bench.module(config, connections={"worker": 57}))
    message = bench.fails(config, connections={"worker": 40, "webserver": 18})
    assert "It allows 57 (max_connections 60 - superuser_reserved_connections 3)" in message
    assert "may need 58 (webserver 18 + worker 40)" in message
    for port in (6430, 6431):
        assert_unchanged(bench.module(bench.deployment(name, dialect, port=port), connections={"worker": 58}))
    bench.postgres(f"ALTER DATABASE {name} CONNECTION LIMIT 50")
    assert "It allows 50 (the database's CONNECTION LIMIT)" in bench.fails(config, connections={"worker": 57})
    bench.postgres("ALTER ROLE airflow CONNECTION LIMIT 40")
    try:
        assert "It allows 40 (the user's CONNECTION LIMIT)" in bench.fails(config, connections={"worker": 57})
    finally:
        bench.postgres("ALTER ROLE airflow CONNECTION LIMIT -1")


def test_too_few_connections_of_mariadb(bench):
    config = bench.deployment(bench.mariadb_database(), "mysql")
    options = {"allow_unsupported": True, "check": True}
    message = bench.fails(config, connections={"worker": 999}, **options)
    assert "It allows 151 (max_connections 151), and the cluster may need 999 (worker 999)" in message
    bench.mariadb("GRANT USAGE ON *.* TO airflow@'127.0.0.1' WITH MAX_USER_CONNECTIONS 20")
    try:
        message = bench.fails(config, connections={"worker": 21}, **options)
        assert "It allows 20 (max_user_connections 20)" in message
    finally:
        bench.mariadb("GRANT USAGE ON *.* TO airflow@'127.0.0.1' WITH MAX_USER_CONNECTIONS 0")


# --- secrets, speed, drift


def test_nothing_secret_in_the_most_verbose_output(bench):
    config = bench.deployment(bench.postgres_database())
    for _number in range(2):
        output = bench.sh(bench.command(config, verbose="-vvvv ")).stdout
        assert '"state"' in output
        for secret in (PASSWORD, QUOTED, PASSWORD[:9], QUOTED[:12]):
            assert secret not in output


def test_revisions_of_the_release_are_known(bench):
    """_revisions.py has to be written again for a new release."""
    script = (
        "import sys; sys.path.insert(0, '/repository/plugins/module_utils'); import _db_helper, _revisions; "
        "root = _db_helper.package_root(); config = _db_helper.Configuration('/dev/null'); "
        "found, ignored = _db_helper.histories(root, config); "
        "unknown = [r for t in found for r in found[t][0] if _revisions.version_of(t, r) is None]; "
        "print(unknown, sorted(found), ignored)"
    )
    done = bench.sh(f'{VENV}/bin/python -c "{script}"')
    assert done.stdout.strip() == "[] ['alembic_version', 'alembic_version_fab'] []"
