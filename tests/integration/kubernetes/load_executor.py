# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loads the executors that a deployment configures, and builds a pod as they would. Run by a release's interpreter.

Nothing connects to Kubernetes: a client is made of the kubeconfig, and never asked.
"""

from __future__ import annotations

import datetime
import inspect
import json

try:
    from airflow.executors.executor_loader import ExecutorLoader
    from airflow.providers.cncf.kubernetes.kube_client import get_kube_client
    from airflow.providers.cncf.kubernetes.kube_config import KubeConfig
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    LOADED = [ExecutorLoader.get_default_executor()]
    LOADED += [ExecutorLoader.load_executor(name.module_path) for name in ExecutorLoader.get_executor_names()[1:]]
except ImportError:
    # Before 2.0.
    from airflow.executors import get_default_executor
    from airflow.executors.kubernetes_executor import KubeConfig
    from airflow.kubernetes.kube_client import get_kube_client
    from airflow.kubernetes.pod_generator import PodGenerator

    LOADED = [get_default_executor()]


def pod():
    """The pod of a task, of the template that the executor reads, as the API of Kubernetes would get it."""
    config = KubeConfig()
    client = get_kube_client().api_client
    command = ["airflow", "tasks", "run", "reports", "daily"]
    known = {
        "dag_id": "reports",
        "task_id": "daily",
        "pod_id": "reports-daily-1",
        "try_number": 1,
        "kube_image": config.kube_image,
        "date": datetime.datetime(2026, 1, 1),
        "args": command,
        "command": command,
        "pod_override_object": None,
        "base_worker_pod": PodGenerator.deserialize_model_file(config.pod_template_file),
        "namespace": config.executor_namespace,
        "scheduler_job_id": "1",
        "worker_uuid": "1",
        "run_id": "manual",
    }
    asked = inspect.signature(PodGenerator.construct_pod).parameters
    built = PodGenerator.construct_pod(**{name: value for name, value in known.items() if name in asked})
    return client.configuration.host, client.configuration.api_key, client.sanitize_for_serialization(built)


def main():
    host, keys, built = pod()
    found = {"loaded": [type(executor).__name__ for executor in LOADED], "server": host, "pod": built}
    print(json.dumps(dict(found, token=keys.get("BearerToken") or keys.get("authorization"))))


main()
