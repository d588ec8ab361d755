# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The options of airflow.cfg under the names that each release has for them, whichever name they were written by."""

from __future__ import annotations

import difflib
import functools
import importlib

from ..module_utils._releases import RELEASES

# What was moved without a word in any release's own table of names.
_MOVED = {
    ("api", "auth_backends"): ("fab", "auth_backends"),
    ("scheduler", "file_parsing_sort_mode"): ("dag_processor", "file_parsing_sort_mode"),
    ("scheduler", "max_callbacks_per_loop"): ("dag_processor", "max_callbacks_per_loop"),
    ("scheduler", "min_file_process_interval"): ("dag_processor", "min_file_process_interval"),
    ("scheduler", "parsing_processes"): ("dag_processor", "parsing_processes"),
    ("scheduler", "print_stats_interval"): ("dag_processor", "print_stats_interval"),
    ("scheduler", "scheduler_zombie_task_threshold"): ("scheduler", "task_instance_heartbeat_timeout"),
    ("scheduler", "stale_dag_threshold"): ("dag_processor", "stale_dag_threshold"),
    ("webserver", "config_file"): ("fab", "config_file"),
    ("webserver", "cookie_samesite"): ("fab", "cookie_samesite"),
    ("webserver", "cookie_secure"): ("fab", "cookie_secure"),
    ("webserver", "enable_proxy_fix"): ("fab", "enable_proxy_fix"),
    ("webserver", "expose_stacktrace"): ("api", "expose_stacktrace"),
    ("webserver", "proxy_fix_x_for"): ("fab", "proxy_fix_x_for"),
    ("webserver", "proxy_fix_x_host"): ("fab", "proxy_fix_x_host"),
    ("webserver", "proxy_fix_x_port"): ("fab", "proxy_fix_x_port"),
    ("webserver", "proxy_fix_x_prefix"): ("fab", "proxy_fix_x_prefix"),
    ("webserver", "proxy_fix_x_proto"): ("fab", "proxy_fix_x_proto"),
    ("webserver", "session_backend"): ("fab", "session_backend"),
    ("webserver", "session_lifetime_minutes"): ("fab", "session_lifetime_minutes"),
    ("webserver", "worker_refresh_batch_size"): ("api", "worker_refresh_batch_size"),
    ("webserver", "worker_refresh_interval"): ("api", "worker_refresh_interval"),
}
# A release takes the one for the other, but a value of the one is no value of the other.
_DIFFERENT = {("api", "access_logfile")}

# What takes the place of an option that a release has no more.
_INSTEAD = {
    ("cli", "api_client"): "the command line works on the database itself",
    ("cli", "endpoint_url"): "the command line works on the database itself, and finds it by sql_alchemy_conn",
    ("core", "check_slas"): "deadline alerts took the place of SLAs",
    ("core", "donot_pickle"): "DAGs are never pickled",
    ("core", "enable_xcom_pickling"): "XComs are always JSON; another format is an XCom backend",
    ("core", "secure_mode"): "ad hoc queries and charts are gone with the interface they were in",
    ("core", "store_dag_code"): "the code of DAGs is always stored",
    ("core", "store_serialized_dags"): "DAGs are always stored in serialised form",
    ("core", "task_runner"): "each task has a supervised process of its own",
    ("database", "load_default_connections"): "declare the connections that you want in airflow_connections",
    ("scheduler", "run_duration"): "the scheduler runs until it is stopped",
    ("scheduler", "standalone_dag_processor"): "the DAG processor is always a process of its own",
    ("smtp", "smtp_password"): "the connection smtp_default holds it: declare it in airflow_connections",
    ("smtp", "smtp_user"): "the connection smtp_default holds it: declare it in airflow_connections",
    ("webserver", "authenticate"): "users always log in",
    ("webserver", "rbac"): "the interface with users and roles is the only one",
    ("webserver", "worker_class"): "api.server_type chooses the server",
}

# Keys that the article wrote for others.
_MISSPELT = {"plugins": "plugins_folder"}

# Keys of `airflow_cfg` that are variables of the roles: these take their defaults from there.
OWN = (
    "base_log_folder",
    "broker_url",
    "dags_folder",
    "default_timezone",
    "executor",
    "load_examples",
    "plugins_folder",
    "result_backend",
    "sql_alchemy_conn",
    "web_server_port",
)


@functools.lru_cache(maxsize=None)
def _table(name):
    return importlib.import_module("." + name, __package__)


def known_options(release):
    """The option table of a release: (section -> option -> type, pairs that are secret)."""
    table = _table(release["options"])
    return table.OPTIONS, {tuple(pair) for pair in [*table.SENSITIVE, *release["unreadable_secrets"]]}


def is_known(release, name):
    """Whether a release has the option of this (section, option)."""
    return name[1] in _table(release["options"]).OPTIONS.get(name[0], ())


@functools.lru_cache(maxsize=None)
def _names():
    """(section, option) -> all that are one step away: what it was called before, and since."""
    steps = {}
    for table in [_table(entry["options"]).RENAMED for entry in RELEASES] + [_MOVED]:
        for old, new in table.items():
            if old not in _DIFFERENT:
                steps.setdefault(old, []).append(new)
                steps.setdefault(new, []).append(old)
    return steps


def name_in(release, name):
    """The (section, option) by which a release knows an option, None where it knows it by no name."""
    seen = [name]
    for known in seen:
        if is_known(release, known):
            return known
        seen += [step for step in _names().get(known, ()) if step not in seen]
    return None


def translate(release, options):
    """Sections of options under the release's own names. What it knows by no name stays as it was written."""
    found = {}
    for section, content in (options or {}).items():
        for option, value in (content or {}).items():
            name = name_in(release, (section, option)) or (section, option)
            # Where both names were written, the release's own counts.
            if name == (section, option) or name[1] not in found.get(name[0], {}):
                found.setdefault(name[0], {})[name[1]] = value
    return found


def value_of(release, options, section, option):
    """The value that a release's options have for an option of today's name, None where there is none."""
    name = name_in(release, (section, option))
    return options.get(name[0], {}).get(name[1]) if name else None


def only_known(release, options):
    """The part of translated options that a release has."""
    return {
        section: {option: value for option, value in content.items() if is_known(release, (section, option))}
        for section, content in options.items()
    }


def instead(release, name):
    """What became of an option that other releases have, empty where none has it."""
    if not any(name_in(other, name) for other in RELEASES):
        return ""
    known_by = [known for known in ([name, *_names().get(name, ())]) if known in _INSTEAD]
    if known_by:
        return _INSTEAD[known_by[0]]
    having = [other["series"] for other in RELEASES if name_in(other, name)]
    return "only Airflow %s has it" % ", ".join(having)


def sections_of(key):
    """The sections that have an option of this name, by the oldest release that has it in any."""
    for entry in RELEASES:
        found = sorted(section for section, options in _table(entry["options"]).OPTIONS.items() if key in options)
        if found:
            return found
    return []


def from_flat(flat, home):
    """Options by section of keys without one, and the keys that cannot be placed, with the reason."""
    options, unplaced = {}, {}
    for key, value in (flat or {}).items():
        option = _MISSPELT.get(key, key)
        sections = sections_of(option)
        if len(sections) != 1:
            near = difflib.get_close_matches(option, sorted(_all_options()), 1)
            unplaced[key] = (
                "it is in the sections %s: write it in airflow_options" % ", ".join(sections)
                if sections
                else "no supported Airflow has such an option: %s"
                % ("did you mean %s?" % near[0] if near else "remove it, or correct its spelling")
            )
        elif option not in OWN:
            value = value.replace("[AIRFLOW_HOME]", home) if isinstance(value, str) else value
            options.setdefault(sections[0], {})[option] = value
    return options, unplaced


@functools.lru_cache(maxsize=None)
def _all_options():
    return {option for entry in RELEASES for options in _table(entry["options"]).OPTIONS.values() for option in options}


def lost(release, flat, home):
    """Keys that a release has no more, each with what took its place."""
    placed, _unplaced = from_flat(flat, home)
    return {
        option: instead(release, (section, option))
        for section, content in placed.items()
        for option in content
        if not name_in(release, (section, option))
    }
