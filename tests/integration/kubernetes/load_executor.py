# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loads the executors that a deployment configures, and builds a pod as they would. Run by a release's interpreter.

Nothing connects to Kubernetes: a client is made of the kubeconfig, and never asked.
"""

from __future__ import annotations

import json

from airflow.executors.executor_loader import ExecutorLoader
from airflow.providers.cncf.kubernetes.kube_client import get_kube_client
from airflow.providers.cncf.kubernetes.kube_config import KubeConfig
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

NAMES = [name.module_path for name in ExecutorLoader.get_executor_names()]


def pod():
    """The pod of a task, of the template that the executor reads, as the API of Kubernetes would get it."""
    config = KubeConfig()
    client = get_kube_client().api_client
    built = PodGenerator.construct_pod(
        dag_id="reports",
        task_id="daily",
        pod_id="reports-daily-1",
        try_number=1,
        kube_image=config.kube_image,
        date=None,
        args=["airflow", "tasks", "run", "reports", "daily"],
        pod_override_object=None,
        base_worker_pod=PodGenerator.deserialize_model_file(config.pod_template_file),
        namespace=config.executor_namespace,
        scheduler_job_id="1",
        run_id="manual",
    )
    return client.configuration.host, client.configuration.api_key, client.sanitize_for_serialization(built)


def main():
    executor = ExecutorLoader.get_default_executor()
    host, keys, built = pod()
    print(
        json.dumps(
            {
                "default": type(executor).__name__,
                "loaded": [type(ExecutorLoader.load_executor(name)).__name__ for name in NAMES],
                "server": host,
                "token": keys.get("BearerToken") or keys.get("authorization"),
                "pod": built,
            }
        )
    )


main()
