# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What the inventory says of the servers of database and broker: where they are, and what the cluster asks of them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from ._executors import executors
from ._sizing import processes, worker_tasks

_KINDS = {
    "postgres": ("postgresql", 5432),
    "postgresql": ("postgresql", 5432),
    "mysql": ("mysql", 3306),
    "mariadb": ("mysql", 3306),
    "redis": ("redis", 6379),
    "rediss": ("redis", 6379),
}


def _postgresql(query):
    """As libpq reads it: with a CA, `require` verifies as well."""
    mode, ca_file = query.get("sslmode", "prefer"), query.get("sslrootcert", "")
    if mode in ("disable", "allow", "prefer"):
        return "off", ""
    if mode == "require" and not ca_file:
        return "encrypt", ""
    # Without a name libpq has a place of its own to look for the CA, which is not known here.
    return ("encrypt" if not ca_file else "name" if mode == "verify-full" else "authority"), ca_file


def _mysql(query):
    mode, ca_file = query.get("ssl_mode", "").upper(), query.get("ssl_ca", "")
    if mode == "DISABLED" or not (mode or ca_file):
        return "off", ""
    named = mode == "VERIFY_IDENTITY" or query.get("ssl_check_hostname", "").lower() == "true"
    return ("encrypt" if not ca_file else "name" if named else "authority"), ca_file


def _redis(query):
    """Of rediss. Without any option kombu verifies nothing; with one, all that it is not told to leave out."""
    told = any(name.startswith("ssl_") for name in query)
    if not told or query.get("ssl_cert_reqs", "required").lower() in ("none", "cert_none"):
        return "encrypt", ""
    named = query.get("ssl_check_hostname", "true").lower() != "false"
    return "name" if named else "authority", query.get("ssl_ca_certs", "")


def servers(url, prefix, host="", ca_file=""):
    """The servers that a URL names, as airflow_preflight asks for them.

    A refusal names the variable that the operator wrote: the one of `host` or `ca_file` where they made the URL.
    """
    scheme = url.strip().removeprefix("db+").split("://", 1)[0].split("+", 1)[0]
    if scheme not in _KINDS:
        return []
    kind, usual_port = _KINDS[scheme]
    parts = urlsplit(url.strip())
    lists = parse_qs(parts.query)
    query = {name: values[-1] for name, values in lists.items()}
    if kind == "postgresql":
        tls, authority = _postgresql(query)
    elif kind == "mysql":
        tls, authority = _mysql(query)
    else:
        tls, authority = _redis(query) if scheme == "rediss" else ("off", "")
    named = [(parts.hostname, parts.port)] if parts.hostname else []
    # Several servers of PostgreSQL.
    for value in lists.get("host", []) if kind == "postgresql" else []:
        name, _colon, port = value.partition(":")
        named.append((name, int(port) if port.isdigit() else None))
    return [
        {
            "host": name,
            "port": port or usual_port,
            "variable": prefix + ("_host" if name == host.lower() else "_url"),
            "kind": kind,
            "tls": tls,
            "ca_file": authority,
            "ca_variable": prefix + ("_ca_file" if ca_file and authority == ca_file else "_url"),
        }
        for name, port in named
        if not name.startswith("/")
    ]


def _times(host, name, need, options):
    """How many processes of a component a host runs, by its own variables before the cluster's options."""
    section, option = need["of"].split(".")
    if option == "worker_concurrency":
        return worker_tasks(host, name, options, need["usual"])[0]
    return processes(options.get(section, {}).get(option), need["usual"])


def connections(release, options, hostvars, groups):
    """How many connections to the database each component of the cluster may have open.

    `groups` has the hosts of each group that components are meant for.
    """

    def runs(name, host):
        declared = hostvars[host].get("airflow_components")
        return name in declared if declared is not None else host in groups[release["components"][name]["on"]]

    found = {}
    for name, component in release["components"].items():
        need = component["connections"]
        for host in sorted({host for members in groups.values() for host in members}):
            if not runs(name, host):
                continue
            each = need.get("each", 0)
            if isinstance(each, dict):
                each = sum(processes(options.get("database", {}).get(option), usual) for option, usual in each.items())
            backend = options.get("celery", {}).get("result_backend", "")
            if component["health"] == "worker" and not backend.startswith("db+"):
                each = 0
            each += need.get("each_task", 0)
            times = _times(hostvars[host], host, need, options) if each else 0
            found[name] = found.get(name, 0) + need["fixed"] + each * times
    each = release["components"]["worker"]["connections"].get("each_task", 0)
    if each and "KubernetesExecutor" in executors(options.get("core", {}).get("executor")):
        # As many pods as every scheduler lets run.
        schedulers = [host for host in groups["master"] if runs("scheduler", host)]
        parallelism = processes(options["core"].get("parallelism"), release["parallelism"])
        found["pods"] = each * parallelism * len(schedulers)
    return found
