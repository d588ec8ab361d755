#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_db
short_description: Make the metadata database match an Airflow release
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Initialises the metadata database if it is empty, migrates it if it is behind the release, and does nothing if it
    is at the release's revision. A database that is newer than the release, or not Airflow's, is refused.
  - The database is the one that O(config) names, by C([database] sql_alchemy_conn), plain or as C(_cmd). PostgreSQL,
    MySQL and MariaDB are known.
  - The revisions are read through the release's own database driver and compared with its migration files. Airflow
    itself is started only to migrate.
  - Providers with a migration history of their own, such as FAB, count as well, where the release migrates them.
  - Runs at the same time, from any number of hosts, migrate once. A lock of the database, of this module's own, is
    held on a connection of its own while Airflow migrates. Who comes later waits and finds the work done.
  - While a migration runs, the table C(dataops_airflow_migration) in the same database says so. If the run dies, the
    next one finds the table. On PostgreSQL it finishes the work. On MySQL and MariaDB, where a migration cannot be
    undone, it refuses and says how to restore the backup; only an interruption after the last revision was reached is
    finished there.
  - If this module is killed, the migration is ended before the lock is given up.
attributes:
  check_mode:
    description: Can run in check mode and tell the revision before and after without changing the database.
    support: full
  diff_mode:
    description: Returns the revisions before and after.
    support: full
extends_documentation_fragment:
  - dataops.airflow.release
options:
  command:
    description: Arguments of the C(airflow) command that initialises and migrates the database.
    type: list
    elements: str
    default: [db, migrate]
  initial_command:
    description:
      - Arguments of the C(airflow) command that makes an empty database Airflow's, where that is not O(command).
      - It is never run on a database that is in use, where C(airflow initdb) of Airflow 1.10 would bring back the
        connections that were deleted.
    type: list
    elements: str
  minimum_servers:
    description:
      - The lowest version of each server product that the release supports. A product that is absent, or whose value
        is null, is not supported in any version.
      - The default is that of Airflow 3.3.
    type: dict
    default:
      postgresql: '14'
      mysql: '8.0'
      mariadb: null
  allow_unsupported:
    description: Whether a server that O(minimum_servers) does not support is only warned of.
    type: bool
    default: false
  running:
    description:
      - Releases that processes of the cluster run from right now. While one of them is not O(venv), a pending migration
        is refused, as those processes would be left with a schema they do not know.
    type: list
    elements: path
    default: []
  connections:
    description:
      - How many connections each component of the whole cluster may have open, by its name. A server that allows fewer
        in all is refused, unless there is a pooler before it. Without any, nothing is compared.
      - A pooler before MySQL cannot be told from the server.
    type: dict
    default: {}
  timeout:
    description:
      - Seconds to wait for a run that migrates at the same time, and then, once more, seconds that the migration may
        take.
      - A migration that takes longer is ended. On MySQL and MariaDB that leaves it half-done.
    type: int
    default: 1800
notes:
  - The module runs on a host that has the release, and reads the password there. It is never part of a result.
  - PgBouncer in transaction mode, and poolers like it, cannot hold the lock. They are refused when there is something
    to migrate. Point O(config) at a configuration whose C(sql_alchemy_conn) is the server's own address for the
    migration.
  - Stop the components of the old release before a migration, and make a backup. On MySQL and MariaDB nothing else
    undoes a migration that failed.
  - The named locks of MySQL belong to one server. In a Galera cluster, let all runs use the same node.
"""

EXAMPLES = r"""
- name: Initialise or migrate the metadata database
  dataops.airflow.airflow_db:
    venv: /opt/airflow/releases/2f6a0c1d9b47
    home: /var/lib/airflow
    config: /opt/airflow/deployments/8d1c55e0aa32/airflow.cfg
  run_once: true

- name: Migrate a large database, on a server that Airflow does not test with
  dataops.airflow.airflow_db:
    venv: /opt/airflow/releases/2f6a0c1d9b47
    home: /var/lib/airflow
    config: /opt/airflow/deployments/8d1c55e0aa32/airflow.cfg
    allow_unsupported: true
    timeout: 14400
  run_once: true

- name: Initialise the database of Airflow 1.10
  dataops.airflow.airflow_db:
    venv: /opt/airflow/releases/7be0f3326c11
    home: /var/lib/airflow
    config: /opt/airflow/deployments/41a9d0c7e5f8/airflow.cfg
    initial_command: [initdb]
    command: [upgradedb]
    minimum_servers:
      postgresql: '9.6'
      mysql: '5.7'
  run_once: true
"""

RETURN = r"""
state:
  description:
    - What was found. V(empty), no tables yet, or those of an initialisation that did not end. V(behind), an older
      revision. V(current), the release's own.
    - With V(current) and C(changed) true, a run had been killed after it reached the last revision, and was finished.
  type: str
  returned: success
  sample: behind
before:
  description: The revision in each version table before, null where there was none.
  type: dict
  returned: success
  sample: {alembic_version: 1d6611b6ab7c, alembic_version_fab: 02ca36b0235b}
after:
  description: The revision in each version table afterwards; in check mode, the one it would have.
  type: dict
  returned: success
  sample: {alembic_version: d2f4e1b3c5a7, alembic_version_fab: 02ca36b0235b}
server:
  description: The database server.
  type: dict
  returned: success
  contains:
    product:
      description: The product.
      type: str
      sample: postgresql
    version:
      description: Its version.
      type: str
      sample: '15.18'
limit:
  description:
    - How many connections the server allows this user. Of a pooler it is that of the server behind it.
    - Null where check mode has nothing to ask with.
  type: dict
  returned: success
  contains:
    allowed:
      description: The number.
      type: int
      sample: 97
    limit:
      description: What says so.
      type: str
      sample: max_connections 100 - superuser_reserved_connections 3
migrated:
  description: Whether this run ran the migration.
  type: bool
  returned: success
  sample: true
waited:
  description: Whether this run had to wait for one that migrated at the same time.
  type: bool
  returned: success
  sample: false
"""

import inspect
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _db_helper
from ..module_utils._revisions import version_of
from ..module_utils._runner import RUNNER_ARGUMENTS, Runner, RunnerError, stand_in

# The helper keeps its own limits; this is for a helper that hangs.
GRACE_SECONDS = 300

RESULTS = ("changed", "state", "before", "after", "server", "limit", "migrated", "waited")
PRODUCTS = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}

# What went wrong, and what to do. `where` names the database, host, port and user.
MESSAGES = {
    "no_airflow": "There is no Airflow in the packages of {python}. Install the release first.",
    "config": "{path}: {reason}.",
    "secrets_backend": (
        "{origin} leads to a secrets backend, which only Airflow itself can read. "
        "Give the connection as sql_alchemy_conn_cmd instead."
    ),
    "command": "The command of {origin} gave no connection: {reason}",
    "url": "The connection of {origin} is not usable: {reason}.",
    "dialect": (
        "{origin} names a database of the kind {dialect}, which is not supported. "
        "A cluster needs PostgreSQL or MySQL: set a sql_alchemy_conn such as postgresql+psycopg2://..."
    ),
    "driver": "The driver {driver} in sql_alchemy_conn is not known. Use one of: {known}.",
    "no_driver": (
        "The release has no driver {driver} for {where} ({reason}). Install the extra, such as "
        "apache-airflow[postgres] "
        "or apache-airflow[mysql], or name another driver in sql_alchemy_conn."
    ),
    "connect_args": "[database] sql_alchemy_connect_args names {name}, which cannot be imported: {reason}",
    "resolve": (
        "The name of the database host does not resolve on this host: {where} ({reason}). "
        "Check the name in sql_alchemy_conn, and DNS or /etc/hosts."
    ),
    "unreachable": (
        "The database server does not answer: {where} ({reason}). "
        "Check that it runs, listens on that address, and that no firewall is between."
    ),
    "password": (
        "The database server refuses the password: {where}. "
        "Check the password in sql_alchemy_conn; in a URL, its special characters are written as %40 for @, "
        "%2F for / ..."
    ),
    "access": (
        "The database server does not let this user in from this host: {where} ({reason}). "
        "Create the user, or allow the host (PostgreSQL: pg_hba.conf; MySQL: the host part of the account)."
    ),
    "database": "The database does not exist: {where}. Create it: {create}",
    "database_or_grant": (
        "The database does not exist, or the user may not use it: {where}. Create it: {create} Then: {grant}"
    ),
    "slots": (
        "The database server takes no more connections: {where} ({reason}). Raise its limit, or lower that of others."
    ),
    "tls": "No TLS connection to the database server came about: {where} ({reason}). Check the ssl options of the URL.",
    "auth_plugin": (
        "The driver cannot log in the way the database server asks for: {where} ({reason}). "
        "Use another driver, or another authentication plugin for the account."
    ),
    "connect": "The connection to the database failed: {where} ({reason}).",
    "query": "The database server refused a query: {where} ({reason}).",
    "unsupported": (
        "Airflow {airflow} does not support {product} {version}{at_least}: {where}. "
        "Use a supported server, or set allow_unsupported to go on at your own risk."
    ),
    "grant": "The user lacks rights on the database: {where} ({lacking}). Run as the database's administrator: {grant}",
    "owner": (
        "The table {table} belongs to the user {owner}, so that this user cannot migrate it: {where}. "
        'Run as the administrator, in that database: REASSIGN OWNED BY "{owner}" TO "{user}"; (or migrate as {owner}).'
    ),
    "read_only": (
        "The database is read-only: {where}. It may be a standby. Give the address of the primary in sql_alchemy_conn."
    ),
    "pooler": (
        "There is a pooler in transaction mode before the database: {where}. A migration needs a session of "
        "its own, for its "
        "locks. Use the server's own address, or a pool in session mode, in the configuration that the migration reads."
    ),
    "connections": (
        "The database server allows too few connections: {where}. It allows {allowed} ({limit}), and the cluster may "
        "need {sum} ({needed}). Raise the limit, put a pooler before it, or lower the workers' concurrency."
    ),
    "foreign": (
        "The database is not empty, and not Airflow's: {where}. It holds, for example, {tables}. "
        "Name another database in sql_alchemy_conn."
    ),
    "several_revisions": (
        "The table {table} holds several revisions ({revisions}): {where}. Two programs have migrated this database. "
        "Restore the backup from before that: {restore}"
    ),
    "newer": (
        "The database is newer than the release: {where}. {table} is at {revision}, of {owner} {found}; "
        "the release is Airflow {airflow}. Install a release at least that new, restore the backup from "
        "before its migration, "
        "or downgrade the database with that newer release (airflow db downgrade)."
    ),
    "too_old": (
        "The database is too old to be migrated by Airflow {airflow}: {where}. {table} is at {revision}, of "
        "{owner} {found}. "
        "Migrate with a release from 2.7 to 2.11 first, then with this one."
    ),
    "unknown": (
        "The database is at a revision that neither Airflow {airflow} nor this collection knows: {where}. "
        "{table} holds {revision}. It is of a later or a modified Airflow. Install the release that wrote it, or "
        "restore the backup from before that: {restore}"
    ),
    "half_done": (
        "A migration of this database died half-way, and {product} cannot undo it: {where}. It began at "
        "{started} on {host}, "
        "from revision {revision_from} to {revision_to}; {core} is at {revision} now. {remedy} If the "
        "database has been put "
        "right already, remove the note of it: DROP TABLE {marker};"
    ),
    "unversioned": (
        "The database holds tables but no revision: {where}. An initialisation or a restore did not end. "
        "Restore the backup: {restore} If there is nothing in it to keep, empty it: {recreate}"
    ),
    "lock_timeout": (
        "Another run still held the migration lock after {seconds} seconds: {where} ({holder}). "
        "Look whether its migration is still at work, then raise timeout or end it."
    ),
    "migration_timeout": (
        "The migration took longer than {seconds} seconds and was ended: {where}. {rest} "
        "Raise timeout. The last it said: {tail}"
    ),
    "migration_failed": "{command} failed with exit code {rc}: {where}. {rest} The last it said: {tail}",
    "stopped": "The migration was ended by a signal: {where}.",
    "lock_lost": (
        "The migration ended well, but its lock was lost on the way, and another run may have worked on the "
        "same database: "
        "{where}. It is at {revision}. Run this again."
    ),
    "not_migrated": (
        "{command} ended well, yet the database is at {revision} instead of {wanted}: {where}. "
        "Does it read another database than {origin} names? It said: {tail}"
    ),
    "internal": "Reading the database failed in an unforeseen way: {where} ({reason}).",
}

# The variable of the collection's roles that each of them is about, where there is one.
VARIABLES = {
    "url": "airflow_database_url",
    "dialect": "airflow_database_type",
    "resolve": "airflow_database_host",
    "unreachable": "airflow_database_host",
    "password": "airflow_database_password",
    "access": "airflow_database_user",
    "database": "airflow_database_name",
    "database_or_grant": "airflow_database_name",
    "slots": "airflow_database_host",
    "tls": "airflow_database_ca_file",
    "unsupported": "airflow_database_allow_unsupported",
    "grant": "airflow_database_user",
    "owner": "airflow_database_user",
    "read_only": "airflow_database_host",
    "pooler": "airflow_database_host",
    "connections": "airflow_database_connections",
    "foreign": "airflow_database_name",
    "newer": "airflow_version",
    "too_old": "airflow_version",
    "unknown": "airflow_version",
    "lock_timeout": "airflow_database_timeout",
    "migration_timeout": "airflow_database_timeout",
}


class Failure:
    """The message for what the helper reports."""

    def __init__(self, answer, params):
        self.kind = answer["problem"]
        self.facts = dict(answer.get("facts") or {})
        self.target = answer.get("target") or {}
        self.airflow = answer.get("airflow_version") or "?"
        self.params = params

    def where(self):
        target = self.target
        if not target:
            return "database unknown"
        port = target["port"] or {"postgresql": 5432, "mysql": 3306}.get(target["dialect"])
        return "database {} on {} port {} as user {}".format(
            target["database"] or "(none)", target["host"] or "localhost", port, target["user"] or "(none)"
        )

    def commands(self):
        """Commands that put the database right, for its administrator."""
        target = self.target
        database = target.get("database") or "airflow"
        user = target.get("user") or "airflow"
        host = target.get("host") or "localhost"
        if target.get("dialect") == "mysql":
            port = target.get("port") or 3306
            client = f"mysql --host={host} --port={port} --user=root --password"
            create = f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4;"
            return {
                "create": create,
                "grant": f"GRANT ALL PRIVILEGES ON `{database}`.* TO '{user}'@'%';",
                "recreate": f"DROP DATABASE `{database}`; {create}",
                "restore": (
                    f"{client} --execute='DROP DATABASE `{database}`; {create}' && {client} {database} < backup.sql"
                ),
            }
        port = target.get("port") or 5432
        schema = self.facts.get("schema") or "public"
        client = f"--host={host} --port={port} --username=postgres"
        create = f'CREATE DATABASE "{database}" OWNER "{user}";'
        return {
            "create": create,
            "grant": f'GRANT ALL ON SCHEMA {schema} TO "{user}"; (in the database {database})',
            "recreate": f'DROP DATABASE "{database}"; {create}',
            "restore": (
                f"dropdb {client} {database} && createdb {client} --owner={user} {database} && "
                f"pg_restore {client} --dbname={database} backup.dump"
            ),
        }

    def text(self):
        kind, facts = self.kind, self.facts
        if kind == "unknown_revision":
            kind = self.unknown_revision()
        values = dict(self.commands(), where=self.where(), airflow=self.airflow, core="alembic_version")
        values.update(facts)
        values["user"] = self.target.get("user")
        values["command"] = " ".join(["airflow"] + facts.get("command", []))
        values["marker"] = _db_helper.MARKER
        for name in ("tables", "known", "revisions"):
            if name in values:
                values[name] = ", ".join(values[name])
        if kind in ("half_done", "unsupported"):
            product = facts.get("product") or self.target.get("dialect")
            values["product"] = PRODUCTS.get(product, product)
        if kind == "unsupported":
            values["at_least"] = " (it needs {} or later)".format(facts["minimum"]) if facts["minimum"] else ""
        if kind == "grant":
            values["lacking"] = "missing: " + ", ".join(facts["missing"]) if "missing" in facts else facts["reason"]
        if kind == "half_done":
            values.update(facts["marker"], marker=_db_helper.MARKER)
            values["revision_from"] = values["revision_from"] or "none"
            values["revision"] = facts["revision"] or "none"
            values["remedy"] = self.remedy(facts["marker"]["state"], values)
        if kind in ("migration_failed", "migration_timeout"):
            values["rest"] = self.rest(values)
        if kind == "connections":
            values["sum"] = sum(facts["needed"].values())
            values["needed"] = " + ".join(
                "{} {}".format(name, facts["needed"][name]) for name in sorted(facts["needed"])
            )
        if kind == "lock_timeout":
            values["holder"] = facts["holder"] or "its connection is gone by now"
        text = MESSAGES[kind].format(**values)
        return f"{VARIABLES[kind]}: {text}" if kind in VARIABLES else text

    def unknown_revision(self):
        """Newer, too old, not Airflow's at all, or nobody knows."""
        facts = self.facts
        found = version_of(facts["table"], facts["revision"])
        if found is None:
            return "unknown" if facts["mine"] else "foreign"
        name = facts["table"].rpartition("_")[2]
        facts.update(found=found, owner="Airflow" if facts["table"] == _db_helper.CORE else f"the {name} provider")
        # A revision of a provider is of the same or a later provider than the installed one, which knows all before it.
        newer = facts["table"] != _db_helper.CORE or numbers(found) > numbers(self.airflow)
        return "newer" if newer else "too_old"

    def remedy(self, state, values):
        if state == "empty":
            return "The database was empty before, so empty it again: {}".format(values["recreate"])
        return "Restore the backup from before it: {}".format(values["restore"])

    def rest(self, values):
        """What a failed migration left behind."""
        if not self.facts["half_done"]:
            return "Nothing is half-done: the next run tries again."
        return "It left the database half-migrated, at {}, and the server cannot undo that. {}".format(
            self.facts["revision"] or "no revision", self.remedy(self.facts["state"], values)
        )


def numbers(version):
    return _db_helper.numbers(version)


def listing(revisions, unfinished=False):
    """Revisions as the lines of a diff."""
    lines = []
    for table, revision in sorted(revisions.items()):
        name = table[len(_db_helper.CORE) + 1 :] or "airflow"
        lines.append("{}: {}{}\n".format(name, revision or "none", " (unfinished)" if unfinished else ""))
    return "".join(lines)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            command=dict(type="list", elements="str", default=["db", "migrate"]),
            initial_command=dict(type="list", elements="str"),
            minimum_servers=dict(type="dict", default=dict(postgresql="14", mysql="8.0", mariadb=None)),
            allow_unsupported=dict(type="bool", default=False),
            running=dict(type="list", elements="path", default=[]),
            connections=dict(type="dict", default={}),
            timeout=dict(type="int", default=1800),
        ),
        supports_check_mode=True,
    )
    # In check mode, on a host that has neither the release nor any deployment yet, there is nothing to look with.
    if module.check_mode and not (stand_in(module) and os.path.exists(module.params["config"])):
        nothing = dict.fromkeys(RESULTS)
        nothing.update(changed=True, state="unknown", before={}, after={}, migrated=False, waited=False)
        module.exit_json(**nothing)
    others = [path for path in module.params["running"] if path != module.params["venv"]]
    if others and not module.check_mode:
        refuse(module, others)
    answer = ask(module, module.check_mode)
    if "problem" in answer:
        module.fail_json(msg=Failure(answer, module.params).text())
    warn(module, answer)
    unfinished = answer["unfinished"] and answer["changed"]
    result = {name: answer[name] for name in RESULTS}
    result["diff"] = dict(before=listing(answer["before"], unfinished), after=listing(answer["after"]))
    module.exit_json(**result)


def refuse(module, others):
    """Fails if there is something to migrate under the feet of another release's processes."""
    answer = ask(module, check=True)
    if answer.get("state") == "behind":
        module.fail_json(
            msg="airflow_version: The database has to be migrated, and processes of another release still run: {}. "
            "They would be left with a schema they do not know. Nothing was migrated. Back up the database, stop the "
            "services on every host (systemctl stop 'airflow-*'), and run again".format(", ".join(sorted(others)))
        )


def ask(module, check):
    """The helper's answer."""
    params = module.params
    if params["timeout"] < 1:
        module.fail_json(msg="timeout is {} seconds; it has to be 1 or more".format(params["timeout"]))
    if not params["command"]:
        module.fail_json(msg="command is empty; it names the airflow command that migrates, such as [db, migrate]")
    for name, count in params["connections"].items():
        if not str(count).isdigit():
            module.fail_json(msg=f"connections: {count} is no number of connections of {name}")
    for product, version in params["minimum_servers"].items():
        if version is not None and not numbers(version):
            module.fail_json(msg=f"minimum_servers: {version} is not a version of {product}")
    request = {
        "venv": params["venv"],
        "config": params["config"],
        "check": check,
        "command": params["command"],
        "initial_command": params["initial_command"] or params["command"],
        "minimum_servers": params["minimum_servers"],
        "allow_unsupported": params["allow_unsupported"],
        "connections": {name: int(count) for name, count in params["connections"].items()},
        "timeout": params["timeout"],
        "parent": os.getpid(),
    }
    runner = Runner(params["venv"], params["home"], params["config"], params["user"])
    source = inspect.getsource(_db_helper)
    try:
        return runner.python(source, request, timeout=2 * params["timeout"] + GRACE_SECONDS)
    except RunnerError as error:
        return module.fail_json(msg=str(error))


def warn(module, answer):
    params = module.params
    product, version = answer["server"]["product"], answer["server"]["version"]
    minimum = params["minimum_servers"].get(product)
    if minimum is None or numbers(version) < numbers(minimum):
        module.warn(
            "Airflow {} does not support {} {}; allow_unsupported is set, so it is used all the same".format(
                answer["airflow_version"], PRODUCTS.get(product, product), version
            )
        )
    for name in answer["ignored_managers"]:
        module.warn(
            f"The revision of the database manager {name} is not compared: "
            "its version table or migration files were not found"
        )
    if answer["busy"]:
        module.warn("Another run migrates this database right now")


if __name__ == "__main__":
    main()
