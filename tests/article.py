# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The airflow.cfg of a cluster of 2020, as its team wrote it down, and what became of each of its keys."""

from __future__ import annotations

ARTICLE = {
    "dags_folder": "[AIRFLOW_HOME]/dags",
    "plugins": "[AIRFLOW_HOME]/plugins",
    "remote_logging": True,
    "remote_log_conn_id": "aws_s3_conn_id",
    "remote_base_log_folder": "s3://airflow/airflow-logs",
    "encrypt_s3_logs": False,
    "default_timezone": "Asia/Jakarta",
    "executor": "CeleryExecutor",
    "sql_alchemy_conn": "mysql://airflow:passwd@host:port/airflow",
    "load_examples": False,
    "parallelism": 128,
    "dag_concurrency": 32,
    "max_active_runs_per_dag": 1,
    "default_owner": "data-team",
    "result_backend": "db+mysql://airflow:passwd@host:port/airflow",
    "broker_url": "redis://host:port/db",
    "default_impersonation": "airflow",
    "dag_run_conf_overrides_params": True,
    "worker_precheck": True,
    "endpoint_url": "http://localhost:8080",
    "web_server_port": 8080,
    "worker_refresh_interval": 30,
    "worker_refresh_batch_size": 1,
    "workers": 4,
    "worker_concurrency": 16,
    "worker_autoscale": "16,12",
}


def fate(old, middle=None, new=None):
    """The names in 1.10, 2.11 and 3.3, each by default the one before."""
    middle = middle or old
    return {"1.10": old, "2.11": middle, "3.3": new or middle}


FATE = {
    "dags_folder": fate("core.dags_folder"),
    "plugins": fate("core.plugins_folder"),
    "remote_logging": fate("core.remote_logging", "logging.remote_logging"),
    "remote_log_conn_id": fate("core.remote_log_conn_id", "logging.remote_log_conn_id"),
    "remote_base_log_folder": fate("core.remote_base_log_folder", "logging.remote_base_log_folder"),
    "encrypt_s3_logs": fate("core.encrypt_s3_logs", "logging.encrypt_s3_logs"),
    "default_timezone": fate("core.default_timezone"),
    "executor": fate("core.executor"),
    "sql_alchemy_conn": fate("core.sql_alchemy_conn", "database.sql_alchemy_conn"),
    "load_examples": fate("core.load_examples"),
    "parallelism": fate("core.parallelism"),
    "dag_concurrency": fate("core.dag_concurrency", "core.max_active_tasks_per_dag"),
    "max_active_runs_per_dag": fate("core.max_active_runs_per_dag"),
    "default_owner": fate("operators.default_owner"),
    "result_backend": fate("celery.result_backend"),
    "broker_url": fate("celery.broker_url"),
    "default_impersonation": fate("core.default_impersonation"),
    "dag_run_conf_overrides_params": fate("core.dag_run_conf_overrides_params"),
    "worker_precheck": fate("core.worker_precheck", "celery.worker_precheck"),
    "endpoint_url": dict(fate("cli.endpoint_url"), **{"3.3": None}),
    "web_server_port": fate("webserver.web_server_port", new="api.port"),
    "worker_refresh_interval": fate("webserver.worker_refresh_interval", new="api.worker_refresh_interval"),
    "worker_refresh_batch_size": fate("webserver.worker_refresh_batch_size", new="api.worker_refresh_batch_size"),
    "workers": fate("webserver.workers", new="api.workers"),
    "worker_concurrency": fate("celery.worker_concurrency"),
    "worker_autoscale": fate("celery.worker_autoscale"),
}
