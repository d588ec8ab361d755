# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The release table: everything that differs between Airflow versions. Nothing else compares versions."""

from __future__ import annotations

import re

# What each component is to the operator (its key), to systemd and to Airflow. `health` says how its life is proven:
# "api" by the content of the health page it serves, "scheduler" by its own health server, "job" by its fresh heartbeat
# in the metadata database, "worker" by its answer through the broker. `runs_tasks_with`
# names the executor whose tasks are processes of the component. `single` says that a cluster may have only one of it.
# Where `wanted_by` names an option, the component is there where that option is true.
#
# `connections` says how many a component may have open to the metadata database: `fixed`, and `each` for each process
# of the option `of`. Measured on 3.3.2, idle, and with 60 clients of the API while tasks ran: API server 2, and 15,
# which is what its pool allows; scheduler 1, and 2; DAG processor 1; triggerer 1; worker 1, and 1 for each process that
# has left a result. Tasks open none. The API server's second pool, for asynchronous requests, is hardly used: 2.
# Before 3.0 each task has connections of its own, `each_task`: for the process that runs it, and in 1.10 for the one
# that watches it. Measured on 2.11.2 with 16 tasks at work: web server 6 with 4 processes, scheduler 2, DAG processor 4
# with 2 processes, triggerer 1, worker 25; on 1.10.15 web server 12 with 4, one of them being replaced, scheduler 5,
# worker 36.
#
# `memory` says what a component takes, in MiB, in the same way: the proportional set size of its processes.
# `task_memory` is what a task adds to it on a worker, with its process of the pool, when it does nothing but wait.
# Measured on each with 1 and 3 or 4 processes of the web or API server, 8 and 24 of the worker, and 8 tasks at work.
# `tasks_each`: how many tasks at work one process of the API server is to serve.
_POOL = {"sql_alchemy_pool_size": 5, "sql_alchemy_max_overflow": 10}
_COMPONENTS_3 = {
    "webserver": {
        "unit": "airflow-api-server",
        "alias": "airflow-webserver",
        "description": "Airflow API server and user interface",
        "command": ["api-server"],
        "on": "master",
        "health": "api",
        "health_path": "/api/v2/monitor/health",
        "proxy_path": "/execution/health",
        "connections": {"fixed": 2, "each": _POOL, "of": "api.workers", "usual": 1},
        "memory": {"fixed": 0, "each": 280, "of": "api.workers", "usual": 1},
        "tasks_each": 64,
        "single": False,
        "runs_user_code": False,
    },
    "scheduler": {
        "unit": "airflow-scheduler",
        "description": "Airflow scheduler",
        "command": ["scheduler"],
        "on": "master",
        "health": "job",
        "job_type": "SchedulerJob",
        "connections": {"fixed": 4},
        "memory": {"fixed": 150},
        "single": False,
        "runs_user_code": True,
        "runs_tasks_with": "LocalExecutor",
    },
    "dag_processor": {
        "unit": "airflow-dag-processor",
        "description": "Airflow DAG processor",
        "command": ["dag-processor"],
        "on": "master",
        "health": "job",
        "job_type": "DagProcessorJob",
        "connections": {"fixed": 2},
        "memory": {"fixed": 160},
        "single": False,
        "runs_user_code": True,
    },
    "triggerer": {
        "unit": "airflow-triggerer",
        "description": "Airflow triggerer",
        "command": ["triggerer"],
        "on": "master",
        "health": "job",
        "job_type": "TriggererJob",
        "connections": {"fixed": 2},
        "memory": {"fixed": 190},
        "single": False,
        "runs_user_code": False,
    },
    "worker": {
        "unit": "airflow-worker",
        "description": "Airflow Celery worker",
        "command": ["celery", "worker"],
        "arguments": {"name": "--celery-hostname", "queues": "--queues"},
        "on": "worker",
        "health": "worker",
        "connections": {"fixed": 1, "each": 1, "of": "celery.worker_concurrency", "usual": 16},
        "memory": {"fixed": 250},
        "single": False,
        "runs_user_code": True,
        "runs_tasks_with": "CeleryExecutor",
    },
}

_WEBSERVER_2 = {
    "unit": "airflow-webserver",
    "description": "Airflow web server",
    "command": ["webserver"],
    # It takes a process that has the number in the file of an earlier start for itself, so each start has its own.
    "pid_file": True,
    # It watches its own processes with psutil, which begins with /proc/stat.
    "reads_proc": True,
    "on": "master",
    "health": "api",
    "health_path": "/health",
    "proxy_path": "/health",
    "connections": {"fixed": 1, "each": 2, "of": "webserver.workers", "usual": 4},
    "memory": {"fixed": 370, "each": 7, "of": "webserver.workers", "usual": 4},
    "single": False,
    "runs_user_code": False,
}
_COMPONENTS_2 = {
    "webserver": _WEBSERVER_2,
    "scheduler": dict(
        _COMPONENTS_3["scheduler"],
        connections={"fixed": 3, "each": 1, "of": "scheduler.parsing_processes", "usual": 2},
        memory={"fixed": 180},
    ),
    "dag_processor": dict(
        _COMPONENTS_3["dag_processor"],
        connections={"fixed": 2, "each": 1, "of": "scheduler.parsing_processes", "usual": 2},
        memory={"fixed": 175},
        wanted_by=["scheduler", "standalone_dag_processor"],
    ),
    "triggerer": dict(_COMPONENTS_3["triggerer"], memory={"fixed": 220}),
    "worker": dict(
        _COMPONENTS_3["worker"],
        connections={"fixed": 1, "each": 1, "each_task": 1, "of": "celery.worker_concurrency", "usual": 16},
    ),
}
# The log of parsing a file is named by the way from the folder of DAGs to it, which leads out of the logs for one of
# elsewhere, such as the canary's.
_PARSE_LOG = {"log_processor_filename_template": "{{ filename | replace('../', '') }}.log"}
_COMPONENTS_1_10 = {
    "webserver": dict(
        _WEBSERVER_2,
        runs_user_code=True,
        connections={"fixed": 1, "each": 3, "of": "webserver.workers", "usual": 4},
        memory={"fixed": 135, "each": 61, "of": "webserver.workers", "usual": 4},
    ),
    "scheduler": dict(_COMPONENTS_2["scheduler"], single=True, memory={"fixed": 120}),
    "worker": dict(
        _COMPONENTS_3["worker"],
        command=["worker"],
        arguments={"name": "--celery_hostname", "queues": "--queues"},
        connections={"fixed": 1, "each": 1, "each_task": 2, "of": "celery.worker_concurrency", "usual": 16},
        memory={"fixed": 160},
    ),
}

# What Airflow takes any number for, and does not work with less, by today's names.
_LEAST = {
    "api.port": 1,
    "api.workers": 1,
    "celery.worker_concurrency": 1,
    "celery.worker_prefetch_multiplier": 0,
    "core.default_task_execution_timeout": 1,
    "core.default_task_retries": 0,
    "core.max_active_runs_per_dag": 1,
    "core.max_active_tasks_per_dag": 1,
    "core.parallelism": 1,
    "dag_processor.parsing_processes": 1,
    "database.sql_alchemy_pool_size": 0,
    "scheduler.max_tis_per_query": 0,
    "scheduler.scheduler_heartbeat_sec": 1,
    "triggerer.capacity": 1,
}

_EXTRAS = {
    "always": ["celery", "fab", "statsd"],
    "postgresql": ["postgres"],
    "mysql": ["mysql"],
    "redis": ["redis"],
    "s3": ["amazon"],
    "kubernetes": ["cncf-kubernetes"],
}
_DRIVERS = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+mysqldb"}
# How each client is told to verify the server, certificate and name.
_TLS = {
    "postgresql": "?sslmode=verify-full&sslrootcert=%s",
    "mysql": "?ssl_mode=VERIFY_IDENTITY&ssl_ca=%s",
    "redis": "?ssl_cert_reqs=required&ssl_ca_certs=%s",
}

# Oldest first.
RELEASES = [
    {
        "series": "1.10",
        # How the canary talks to it, and whether it reads DAGs from more than one folder.
        "api": "www_rbac",
        "dag_bundles": False,
        "python": ["3.6", "3.7", "3.8"],
        # Row locks, for which later ones cannot do with MariaDB, it takes none.
        "databases": {"postgresql": "9.6", "mysql": "5.7", "mariadb": "10.2"},
        "package": "apache-airflow",
        # Some of its packages are there as source only, for any Python.
        "compiled": True,
        "extras": {
            "always": ["celery", "crypto", "password", "statsd"],
            "postgresql": ["postgres"],
            "mysql": ["mysql"],
            "redis": ["redis"],
            "s3": ["s3"],
            "kubernetes": ["kubernetes"],
        },
        "drivers": _DRIVERS,
        "async_drivers": {},
        "tls": dict(_TLS, mysql="?ssl_ca=%s"),
        # Its tables' keys are too long, and cannot be migrated later, where a character may have four bytes.
        "mysql_character_set": "utf8",
        # What a connection to S3 calls the address of the storage.
        "s3_address": "host",
        "components": _COMPONENTS_1_10,
        "task_memory": 100,
        "parallelism": 32,
        "executors": ["CeleryExecutor", "LocalExecutor", "KubernetesExecutor"],
        "executor_lists": False,
        "pods": {"secrets": ["core.fernet_key", "core.sql_alchemy_conn"]},
        "tasks_ask_api": False,
        "database_command": ["upgradedb"],
        # Once: run again it brings back connections that were deleted, and takes DAGs that it does not see for gone.
        "initial_command": ["initdb"],
        "secrets": {"fernet_key": ["core", "fernet_key"], "api_secret_key": ["webserver", "secret_key"]},
        # A task of another user is a process that reads airflow.cfg, and then a copy of it with all secrets, which the
        # worker gives away with `sudo chown`. In 3 it needs none of them.
        "copies_configuration": True,
        # It has a command for few of its secrets. The others go through the environment.
        "unreadable_secrets": [
            ["mesos", "default_secret"],
            ["secrets", "backend_kwargs"],
            ["sentry", "sentry_dsn"],
            ["webserver", "secret_key"],
        ],
        # The interface that it has by default knows no users.
        "base_options": {"core": _PARSE_LOG, "webserver": {"rbac": True}},
        "options": "_options_1_10",
        "least": _LEAST,
    },
    {
        "series": "2.11",
        "api": "v1",
        "dag_bundles": False,
        "python": ["3.10", "3.11", "3.12"],
        "databases": {"postgresql": "12", "mysql": "8.0", "mariadb": None},
        "package": "apache-airflow",
        "compiled": False,
        "extras": _EXTRAS,
        "drivers": _DRIVERS,
        "async_drivers": {},
        "tls": _TLS,
        "mysql_character_set": "utf8mb4",
        # What a connection to S3 calls the address of the storage.
        "s3_address": "endpoint_url",
        "components": _COMPONENTS_2,
        "task_memory": 160,
        "parallelism": 32,
        "executors": [
            "CeleryExecutor",
            "LocalExecutor",
            "KubernetesExecutor",
            "CeleryKubernetesExecutor",
            "LocalKubernetesExecutor",
        ],
        "executor_lists": True,
        "pods": {"secrets": ["core.fernet_key", "database.sql_alchemy_conn"]},
        "tasks_ask_api": False,
        "database_command": ["db", "migrate"],
        "initial_command": None,
        "secrets": {"fernet_key": ["core", "fernet_key"], "api_secret_key": ["webserver", "secret_key"]},
        "copies_configuration": True,
        # Of providers that are not installed by default: it learns from these which of their options are secrets.
        "unreadable_secrets": [["atlas", "password"], ["opensearch", "password"]],
        # The process of another user writes to the log that Airflow's has begun. In 1.10 these are its own modes.
        "base_options": {"logging": dict(_PARSE_LOG, file_task_handler_new_file_permissions="0o666")},
        "options": "_options_2_11",
        "least": _LEAST,
    },
    {
        "series": "3.3",
        "api": "v2",
        "dag_bundles": True,
        "python": ["3.10", "3.11", "3.12", "3.13", "3.14"],
        # Oldest server of each product that upstream supports; null: not supported at all.
        "databases": {"postgresql": "14", "mysql": "8.0", "mariadb": None},
        "package": "apache-airflow",
        "compiled": False,
        "extras": _EXTRAS,
        "drivers": _DRIVERS,
        # What Airflow would take by itself, asyncpg, does not know libpq's options for TLS.
        "async_drivers": {"postgresql": "postgresql+psycopg"},
        "tls": _TLS,
        "mysql_character_set": "utf8mb4",
        # What a connection to S3 calls the address of the storage.
        "s3_address": "endpoint_url",
        "components": _COMPONENTS_3,
        "task_memory": 64,
        # Airflow's own.
        "parallelism": 32,
        "executors": ["CeleryExecutor", "LocalExecutor", "KubernetesExecutor"],
        # Whether several of them may be named, separated by commas.
        "executor_lists": True,
        # Tasks in pods: what they need of the secrets that all nodes share.
        "pods": {"secrets": []},
        # Whether a task asks an API server for all that it needs.
        "tasks_ask_api": True,
        "database_command": ["db", "migrate"],
        "initial_command": None,
        "secrets": {
            "fernet_key": ["core", "fernet_key"],
            "api_secret_key": ["api", "secret_key"],
            "jwt_secret": ["api_auth", "jwt_secret"],
        },
        "copies_configuration": False,
        "unreadable_secrets": [],
        "base_options": {},
        "options": "_options_3_3",
        "least": _LEAST,
    },
]


# Of all releases: what one of them ran is in the way of another.
_UNITS = {component["unit"] for entry in RELEASES for component in entry["components"].values()}


class UnknownRelease(Exception):
    """The table has no entry for a version."""


def supported():
    """The series the table knows, oldest first."""
    return [release["series"] for release in RELEASES]


def release(version):
    """The facts of Airflow `version`."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", str(version)):
        raise UnknownRelease("%r is not a full Airflow version such as 3.3.2" % (version,))
    for entry in RELEASES:
        if str(version).startswith(entry["series"] + "."):
            own = {component["unit"] for component in entry["components"].values()}
            return dict(entry, version=str(version), other_units=sorted(_UNITS - own))
    raise UnknownRelease("Airflow %s is not supported; supported are: %s" % (version, ", ".join(supported())))
