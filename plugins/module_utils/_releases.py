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
# names the executor whose tasks are processes of the component.
#
# `connections` says how many a component may have open to the metadata database: `fixed`, and `each` for each process
# of the option `of`. Measured on 3.3.2, idle, and with 60 clients of the API while tasks ran: API server 2, and 15,
# which is what its pool allows; scheduler 1, and 2; DAG processor 1; triggerer 1; worker 1, and 1 for each process that
# has left a result. Tasks open none. The API server's second pool, for asynchronous requests, is hardly used: 2.
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
        "connections": {"fixed": 2, "each": _POOL, "of": "api.workers", "usual": 1},
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
        "single": False,
        "runs_user_code": False,
    },
    "worker": {
        "unit": "airflow-worker",
        "description": "Airflow Celery worker",
        "command": ["celery", "worker"],
        "on": "worker",
        "health": "worker",
        "connections": {"fixed": 1, "each": 1, "of": "celery.worker_concurrency", "usual": 16},
        "single": False,
        "runs_user_code": True,
        "runs_tasks_with": "CeleryExecutor",
    },
}

_RELEASES = [
    {
        "series": "3.3",
        "python": ["3.10", "3.11", "3.12", "3.13", "3.14"],
        # Oldest server of each product that upstream supports; null: not supported at all.
        "databases": {"postgresql": "14", "mysql": "8.0", "mariadb": None},
        "package": "apache-airflow",
        "extras": {
            "always": ["celery", "fab", "statsd"],
            "postgresql": ["postgres"],
            "mysql": ["mysql"],
            "redis": ["redis"],
            "s3": ["amazon"],
        },
        "drivers": {"postgresql": "postgresql+psycopg2", "mysql": "mysql+mysqldb"},
        # What Airflow would take by itself, asyncpg, does not know libpq's options for TLS.
        "async_drivers": {"postgresql": "postgresql+psycopg"},
        # How each client is told to verify the server, certificate and name.
        "tls": {
            "postgresql": "?sslmode=verify-full&sslrootcert=%s",
            "mysql": "?ssl_mode=VERIFY_IDENTITY&ssl_ca=%s",
            "redis": "?ssl_cert_reqs=required&ssl_ca_certs=%s",
        },
        "components": _COMPONENTS_3,
        "database_command": ["db", "migrate"],
        "secrets": {
            "fernet_key": ["core", "fernet_key"],
            "api_secret_key": ["api", "secret_key"],
            "jwt_secret": ["api_auth", "jwt_secret"],
        },
        "options": "_options_3_3",
        # Options that Airflow takes any number for, and does not work with less.
        "least": {
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
        },
    },
]


class UnknownRelease(Exception):
    """The table has no entry for a version."""


def supported():
    """The series the table knows, oldest first."""
    return [release["series"] for release in _RELEASES]


def release(version):
    """The facts of Airflow `version`."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", str(version)):
        raise UnknownRelease("%r is not a full Airflow version such as 3.3.2" % (version,))
    for entry in _RELEASES:
        if str(version).startswith(entry["series"] + "."):
            return dict(entry, version=str(version))
    raise UnknownRelease("Airflow %s is not supported; supported are: %s" % (version, ", ".join(supported())))
