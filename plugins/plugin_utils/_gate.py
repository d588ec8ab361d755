# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The first gate: what the inventory alone can be refused for. Each refusal names the variable and the fix."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from urllib.parse import urlsplit

from zoneinfo import available_timezones

from ._alerts import alert_problems
from ._executors import executor_problems
from ._gate_aws import aws_problems
from ._kubernetes import kubernetes_problems
from ._options import from_flat, instead, known_options, name_in, value_of

# Seen in documentation and examples, so known to everybody.
_PUBLIC_SECRETS = {
    "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",
    "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
    "temporary_key",
    "a_secret_key",
    "changeme",
    "change_me",
    "secret",
    "password",
    "passwd",
    "airflow",
    "admin",
}
_PLACEHOLDER = re.compile(r"host:port|:passwd@|/db$|<[a-z_ -]+>|CHANGE_?ME|REPLACE_?ME|FILL_?ME", re.IGNORECASE)
_PLACEHOLDER_LEFT = ("it still holds a placeholder", "put the real value in its place")
_FREE_SECTIONS = re.compile(r"_transport_options$|_kwargs$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

# What the units set themselves, and recognise their processes by.
_OWN_ENVIRONMENT = {
    "AIRFLOW_CONFIG",
    "AIRFLOW_DEPLOYMENT",
    "AIRFLOW_HOME",
    "AIRFLOW_UNIT_DIGEST",
    "HOME",
    "PATH",
    "SPT_NOENV",
    "VIRTUAL_ENV",
}

# The secrets that nodes share, by the names that the release table has for them: not every release has each.
_KEYS = {
    "airflow_fernet_key": "fernet_key",
    "airflow_api_secret_key": "api_secret_key",
    "airflow_jwt_secret": "jwt_secret",
}
MINIMUM_SECRET = 32
PRESETS = ("strict", "baseline", "none")

_PORT = (1, 65535)
# The least and the most that a variable may be.
_RANGES = {
    "airflow_webserver_port": _PORT,
    "airflow_proxy_port": _PORT,
    "airflow_database_port": _PORT,
    "airflow_broker_port": _PORT,
    "airflow_broker_database": (0, None),
    "airflow_visibility_timeout": (1, None),
    "airflow_worker_stop_timeout": (1, None),
    "airflow_service_worker_concurrency": (1, None),
    "airflow_task_memory": (1, None),
}


def problems(declared, release):
    """What is wrong with what one host declares, as (variable, what is wrong, what to do) triples."""
    found = []
    for check in (
        _topology,
        _components,
        _presets,
        _impersonation,
        _environment,
        _secrets,
        _placeholders,
        _numbers,
        _urls,
        _database,
        _broker,
        _authorities,
        _timeouts,
        _autoscale,
        _timezone,
        _executor,
        kubernetes_problems,
        alert_problems,
    ):
        found += check(declared, release)
    return (
        found
        + _options(declared, release)
        + _remote_logs(declared, release)
        + _flat(declared)
        + aws_problems(declared, release)
    )


def _topology(declared, _release):
    if not declared["masters"]:
        return [("groups.master", "no host is in it", "put at least one host into the group")]
    if "Celery" in declared["executor"] and not declared["workers"]:
        return [("groups.worker", "no host is in it, and %s needs workers" % declared["executor"], "add a host")]
    names = declared["worker_names"]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        return [("airflow_worker_name", "%s is the name of two workers" % double[0], "give each worker its own")]
    return [
        ("airflow_worker_name", "%r cannot be part of a queue's name" % name, "use letters, digits, dot, dash and _")
        for name in names
        if not _NAME.match(name)
    ]


def _executor(declared, release):
    return executor_problems(declared["executor"], release)


def _components(declared, release):
    known = release["components"]
    fix = "use %s" % ", ".join(sorted(known))
    found = [
        ("airflow_components", "Airflow %s has no component %s" % (release["version"], name), fix)
        for name in declared["components"]
        if name not in known
    ]
    for name in declared["components"]:
        section, option = known.get(name, {}).get("wanted_by") or (None, None)
        if section and str(declared["options"].get(section, {}).get(option)).lower() != "true":
            what = "%s does nothing unless [%s] %s is true" % (name, section, option)
            found.append(("airflow_components", what, "set airflow_options.%s.%s: true" % (section, option)))
    masters = declared["masters"]
    if masters and declared["active_scheduler"] not in masters and any(part["single"] for part in known.values()):
        what = "%s is no master" % declared["active_scheduler"]
        found.append(("airflow_active_scheduler", what, "name a host of the group of masters"))
    return found


def singles(declared, release):
    """The components of a host that may run on one host only: the hosts are counted where all are known."""
    known = release["components"]
    return [name for name in declared["components"] if name in known and known[name]["single"]]


def _presets(declared, release):
    presets = declared["presets"]
    found = []
    for name, preset in sorted(presets.items()):
        variable = "airflow_service_presets.%s" % name
        if name not in release["components"]:
            fix = "use %s" % ", ".join(sorted(release["components"]))
            found.append((variable, "Airflow %s has no such component" % release["version"], fix))
        elif preset not in PRESETS:
            found.append((variable, "%s is no preset" % preset, "use %s" % ", ".join(PRESETS)))
    return found


def _impersonation(declared, _release):
    users = declared["impersonation_users"]
    found = []
    for name in users:
        # Each name becomes part of a rule of sudo, where ALL and %group have a meaning of their own.
        if not re.match(r"^[a-z_][a-z0-9_.-]*$", str(name)):
            fix = "write names of users in lower case"
            found.append(("airflow_impersonation_users", "%s is not the name of a user" % name, fix))
        elif name in ("root", declared["user"]):
            what = "tasks may not become %s" % name
            found.append(("airflow_impersonation_users", what, "name users that have no rights but their own"))
    default = declared["options"].get("core", {}).get("default_impersonation")
    if default and default not in [*users, declared["user"]]:
        what = "tasks may not become %s" % default
        fix = "add it to airflow_impersonation_users"
        found.append(("airflow_options.core.default_impersonation", what, fix))
    return found


def _environment(declared, _release):
    found = []
    for name in sorted(declared["environment"]):
        variable = "airflow_environment.%s" % name
        if name in _OWN_ENVIRONMENT:
            found.append((variable, "the units set it themselves", "remove it"))
        elif not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", name):
            found.append((variable, "it is not the name of a variable", "use letters, digits and _"))
    return found


def _secrets(declared, release):
    found = []
    for variable, value in declared["secrets"].items():
        if variable in _KEYS and _KEYS[variable] not in release["secrets"]:
            continue
        if not value:
            fix = "generate one: lookup('dataops.airflow.secret', ...), or put one into the vault"
            found.append((variable, "it is missing", fix))
        elif _PLACEHOLDER.search(value):
            found.append((variable, *_PLACEHOLDER_LEFT))
        elif value.lower() in _PUBLIC_SECRETS or value in _PUBLIC_SECRETS:
            found.append((variable, "it is a value from public examples", "generate one of your own"))
        elif variable == "airflow_fernet_key":
            found += _fernet(variable, value)
        elif variable in ("airflow_jwt_secret", "airflow_api_secret_key") and len(value) < MINIMUM_SECRET:
            what = "it has %d characters, and needs %d" % (len(value), MINIMUM_SECRET)
            found.append((variable, what, "generate a longer one"))
        elif variable == "airflow_monitor_database_password" and "?" in value and declared["mysql_exporter"]:
            what = "the exporter of MySQL takes what comes after its ? for settings"
            found.append((variable, what, "choose one without ?, or set airflow_database_exporter: false"))
    return found


def _fernet(variable, value):
    for key in value.split(","):
        try:
            length = len(base64.urlsafe_b64decode(key.strip()))
        except (binascii.Error, ValueError):
            length = 0
        if length != 32:
            fix = "generate one: lookup('dataops.airflow.secret', 'fernet_key', kind='fernet')"
            return [(variable, "it is not a Fernet key (32 bytes in URL-safe base64)", fix)]
    return []


def _placeholders(declared, _release):
    parts = dict(declared["addresses"], **declared["passwords"])
    found = [(name, *_PLACEHOLDER_LEFT) for name, value in sorted(parts.items()) if _PLACEHOLDER.search(value)]
    for name, value in sorted(declared["passwords"].items()):
        if value.lower() in _PUBLIC_SECRETS:
            found.append(
                (name, "it is a value from public examples", "give the server, and write here, one of your own")
            )
    # An URL is made of its parts unless it was given whole: a placeholder is told once, where it was written.
    return found or [
        (name, *_PLACEHOLDER_LEFT) for name, value in sorted(declared["urls"].items()) if _PLACEHOLDER.search(value)
    ]


def _integer(value):
    """What is written as a whole number, else None."""
    text = str(value).strip()
    return int(text) if re.match(r"^-?[0-9]+$", text) else None


def _outside(value, least, most=None):
    """What is wrong with a number, None where it is right."""
    number = _integer(value)
    if number is None:
        return "%r is no whole number" % (value,)
    if number < least or (most is not None and number > most):
        return "%d is not %s" % (number, "%d to %d" % (least, most) if most else "%d or more" % least)
    return None


def _numbers(declared, release):
    found = []
    for variable, value in sorted(declared["numbers"].items()):
        # The port of a database that is refused has no default.
        unknown = variable == "airflow_database_port" and not release["databases"].get(declared["database_type"])
        what = None if value is None or unknown else _outside(value, *_RANGES[variable])
        if what:
            found.append((variable, what, "write a number in that range"))
    if declared["numbers"]["airflow_proxy_port"] == declared["numbers"]["airflow_webserver_port"]:
        found.append(("airflow_proxy_port", "it is airflow_webserver_port too", "choose another port for one of them"))
    for today, least in sorted(release["least"].items()):
        name = name_in(release, tuple(today.split(".")))
        if not name:
            continue
        value = declared["options"].get(name[0], {}).get(name[1])
        name = ".".join(name)
        what = None if value is None else _outside(value, least)
        # What is no number is told where the types of options are looked at.
        if what and _integer(value) is not None:
            found.append(("airflow_options.%s" % name, what, "write a number in that range"))
    return found


def _autoscale(declared, _release):
    found = []
    for variable, value in (
        ("airflow_service_worker_autoscale", declared["autoscale"]),
        ("airflow_options.celery.worker_autoscale", declared["options"].get("celery", {}).get("worker_autoscale")),
    ):
        if value is None:
            continue
        most, comma, least = str(value).partition(",")
        most, least = _integer(most), _integer(least)
        if not comma or most is None or least is None or not most >= least >= 0 or most == 0:
            fix = "write the most and the least number of processes, such as 16,4"
            found.append((variable, "%r is no range" % (value,), fix))
    return found


def _urls(declared, release):
    found = []
    wrong_ports = {variable for variable, _what, _fix in _numbers(declared, release)}
    for variable, value in sorted(declared["urls"].items()):
        # An URL that is made of a wrong port is wrong for that reason.
        part = "airflow_broker_port" if variable == "airflow_broker_url" else "airflow_database_port"
        if part in wrong_ports and ":%s/" % declared["numbers"][part] in value:
            continue
        # The value is not shown: it may hold a password.
        rest = value.split("://", 1)
        authority = re.split(r"[/?#]", rest[1], maxsplit=1)[0] if len(rest) == 2 else ""
        if len(rest) != 2 or not rest[0]:
            found.append((variable, "it is not an URL", "write scheme://user:password@host:port/name"))
            continue
        try:
            parts = urlsplit(value)
            wrong = authority.count("@") > 1 or parts.port == 0
        except ValueError:
            wrong = True
        if wrong:
            fix = "write them percent-encoded, with the filter urlencode"
            found.append((variable, "its user or password holds characters that an URL cannot", fix))
    return found


def _database(declared, release):
    found = []
    kind = declared["database_type"]
    if not release["databases"].get(kind):
        fix = "use %s" % " or ".join(sorted(name for name, oldest in release["databases"].items() if oldest))
        found.append(("airflow_database_type", "%s is not supported by Airflow %s" % (kind, release["version"]), fix))
    elif not declared["addresses"]["airflow_database_host"] and not declared["database_url_given"]:
        found.append(("airflow_database_host", "it is missing", "name the host of the metadata database"))
    if declared["urls"]["airflow_database_url"].startswith("sqlite") and "Celery" in declared["executor"]:
        found.append(("airflow_database_url", "SQLite cannot serve a cluster", "use PostgreSQL or MySQL"))
    return found


def _broker(declared, _release):
    if "Celery" in declared["executor"] and not declared["addresses"]["airflow_broker_host"]:
        if not declared["broker_url_given"]:
            return [("airflow_broker_host", "it is missing, and workers need a broker", "name the host of Redis")]
    return []


def _authorities(declared, _release):
    found = [
        (variable, "%r is no absolute path" % path, "write the path that the file has on the hosts")
        for variable, path in sorted(declared["ca_files"].items())
        if path and not path.startswith("/")
    ]
    if declared["ca_files"]["airflow_broker_ca_file"] and declared["own_broker"]:
        what = "the Redis that this collection installs speaks no TLS"
        found.append(("airflow_broker_ca_file", what, "leave it empty, or name a broker of your own"))
    return found


def _timeouts(declared, _release):
    """visibility timeout > time to stop > longest task, each as it will be in force."""
    stop = _integer(declared["numbers"]["airflow_worker_stop_timeout"])
    variable = "airflow_visibility_timeout"
    visibility = declared["options"].get("celery_broker_transport_options", {}).get("visibility_timeout")
    if visibility is None or str(visibility) == str(declared["numbers"][variable]):
        visibility = declared["numbers"][variable]
    else:
        variable = "airflow_options.celery_broker_transport_options.visibility_timeout"
    visibility = _integer(visibility)
    longest = _integer(declared["options"].get("core", {}).get("default_task_execution_timeout", ""))
    found = []
    if None not in (stop, visibility) and visibility <= stop:
        what = "a task may run %d s while its worker stops, and the broker hands it out again after %d s" % (
            stop,
            visibility,
        )
        found.append((variable, what, "set it above airflow_worker_stop_timeout"))
    if None not in (stop, longest) and longest >= stop:
        what = "a task may run %d s, and its worker is killed after %d s when it stops" % (longest, stop)
        fix = "set it above airflow_options.core.default_task_execution_timeout"
        found.append(("airflow_worker_stop_timeout", what, fix))
    return found


def _timezone(declared, _release):
    if declared["timezone"] in available_timezones() or declared["timezone"] in ("utc", "system"):
        return []
    near = difflib.get_close_matches(declared["timezone"], sorted(available_timezones()), 1)
    return [("airflow_timezone", "there is no time zone %s" % declared["timezone"], suggestion(near))]


def _options(declared, release):
    known, _sensitive = known_options(release)
    found = []
    for section, options in sorted(declared["options"].items()):
        where = "airflow_options.%s" % section
        if section in declared["extra_sections"] or _FREE_SECTIONS.search(section):
            continue
        fates = [name for name in options if instead(release, (section, name))]
        if section not in known and fates:
            found += [(where + "." + name, *_unknown_option(name, section, known, release)) for name in sorted(fates)]
            continue
        if section not in known:
            fix = suggestion(difflib.get_close_matches(section, sorted(known), 1))
            fix += "; a section of a provider or plugin of your own is allowed by naming it in airflow_extra_sections"
            found.append((where, "Airflow %s has no such section" % release["version"], fix))
            continue
        for name, value in sorted(options.items()):
            if name not in known[section]:
                found.append((where + "." + name, *_unknown_option(name, section, known, release)))
            elif not _fits(value, known[section][name]):
                what = "%r is no %s" % (value, known[section][name])
                found.append((where + "." + name, what, "write a value of that type"))
    return found


def _unknown_option(name, section, known, release):
    what = "Airflow %s has no such option" % release["version"]
    fate = instead(release, (section, name))
    if fate:
        return what, "remove it: %s" % fate
    elsewhere = sorted(other for other, options in known.items() if name in options)
    if elsewhere:
        return what, "it is in section %s" % elsewhere[0]
    return what, suggestion(difflib.get_close_matches(name, sorted(known[section]), 1))


def _fits(value, kind):
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value).strip()
    if kind == "boolean":
        return text.lower() in ("true", "false", "t", "f", "1", "0")
    if kind == "integer":
        return re.match(r"^-?\d+$", text) is not None
    if kind == "float":
        return re.match(r"^-?\d+(\.\d+)?([eE]-?\d+)?$", text) is not None
    return True


def _remote_logs(declared, release):
    options = declared["options"]
    folder = str(value_of(release, options, "logging", "remote_base_log_folder") or "")
    if folder.startswith("s3://") and not value_of(release, options, "logging", "remote_log_conn_id"):
        fix = "name the connection that may write there"
        return [("airflow_options.logging.remote_log_conn_id", "logs go to %s without a connection" % folder, fix)]
    return []


def _flat(declared):
    unplaced = from_flat(declared["cfg"], declared["home"])[1]
    return [("airflow_cfg.%s" % key, "it cannot be placed", reason) for key, reason in sorted(unplaced.items())]


def suggestion(near):
    """What to do about a name that is not known."""
    return "did you mean %s?" % near[0] if near else "remove it, or correct its spelling"
