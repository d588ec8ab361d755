# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The first gate, of what AWS says about the servers that the inventory names."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..module_utils._db_helper import numbers
from ._servers import servers

_PRODUCTS = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
_OFF = ("0", "off", "false")
_ON = ("1", "on", "true")
# The first versions that have explicit_defaults_for_timestamp on without being told.
_EXPLICIT_SINCE = {"mysql": "8.0.2", "mariadb": "10.10"}


def aws_problems(declared, release):
    """What is wrong with servers of RDS and ElastiCache, as (variable, what is wrong, what to do) triples."""
    aws = declared.get("aws") or {}
    found = []
    if aws.get("rds"):
        variable = "airflow_rds_cluster" if aws["rds"]["cluster"] else "airflow_rds_instance"
        for check in (_version, _parameters, _connections):
            found += [(variable, *problem) for problem in check(aws, release)]
        found += _database_tls(declared, aws["rds"])
    return found + _broker(declared, aws.get("elasticache"))


def _version(aws, release):
    rds = aws["rds"]
    oldest = release["databases"].get(rds["product"])
    product, airflow = _PRODUCTS[rds["product"]], release["version"]
    if aws["allow_unsupported"]:
        return []
    if not oldest:
        others = " or ".join(sorted(_PRODUCTS[name] for name, least in release["databases"].items() if least))
        what = "%s is %s, which Airflow %s does not support" % (rds["identifier"], product, airflow)
        return [(what, "use %s" % others)]
    if numbers(rds["version"]) < numbers(oldest):
        what = "%s is %s %s, and Airflow %s needs %s" % (rds["identifier"], product, rds["version"], airflow, oldest)
        return [(what, "upgrade its engine")]
    return []


def _parameters(aws, _release):
    rds = aws["rds"]
    if rds["product"] == "postgresql":
        return []
    found = []
    explicit = rds["parameters"].get("explicit_defaults_for_timestamp", "").lower()
    if not explicit and numbers(rds["version"]) < numbers(_EXPLICIT_SINCE[rds["product"]]):
        explicit = "off"
    if explicit in _OFF:
        what = "explicit_defaults_for_timestamp is off in its parameter group %s" % _groups(rds)
        found.append((what, "set it to 1 there, in a group of its own if that is the default one"))
    characters = rds["parameters"].get("character_set_server", "utf8")
    if not characters.startswith("utf8"):
        what = "character_set_server is %s in its parameter group %s" % (characters, _groups(rds))
        found.append((what, "set it to utf8mb4 there, in a group of its own if that is the default one"))
    return found


def _connections(aws, _release):
    rds, needed = aws["rds"], aws["connections"]
    # What is no number is a formula over the memory of the instance: the server itself is asked later.
    most = str(rds["parameters"].get("max_connections", ""))
    if not most.isdigit() or int(most) >= sum(needed.values()):
        return []
    parts = " + ".join("%s %d" % item for item in sorted(needed.items()))
    what = "max_connections is %s in its parameter group %s, and the cluster may open %d (%s)"
    fix = "raise it there, put a pooler before it, or lower the workers' concurrency"
    return [(what % (most, _groups(rds), sum(needed.values()), parts), fix)]


def _groups(rds):
    return ", ".join(rds["parameter_groups"])


def _database_tls(declared, rds):
    demands = [name for name in ("rds.force_ssl", "require_secure_transport") if _on(rds["parameters"].get(name))]
    if not demands or not _plain(declared, "airflow_database_url"):
        return []
    what = "%s takes encrypted connections only (%s), and none is declared" % (rds["identifier"], demands[0])
    return [("airflow_database_ca_file", what, "name the file of RDS's certificate authorities on the hosts")]


def _on(value):
    return str(value).lower() in _ON


def _plain(declared, variable):
    """Whether the URL leads to a server without encryption."""
    try:
        return any(server["tls"] == "off" for server in servers(declared["urls"][variable], ""))
    except ValueError:
        return False


def _broker(declared, cache):
    found = []
    if not cache:
        return found
    if cache["tls"] and _plain(declared, "airflow_broker_url"):
        what = "%s takes encrypted connections only, and none is declared" % cache["identifier"]
        found.append(("airflow_broker_ca_file", what, "name the file of the authorities that the hosts trust"))
    if cache["password"] and not _password(declared["urls"]["airflow_broker_url"]):
        what = "%s wants its AUTH token, and none is given" % cache["identifier"]
        found.append(("airflow_broker_password", what, "write it into the vault, or look it up in Secrets Manager"))
    return found


def _password(url):
    try:
        return urlsplit(url).password
    except ValueError:
        return True
