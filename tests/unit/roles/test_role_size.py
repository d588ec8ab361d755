# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What playbooks/size.yml wrote reaches the deployment and each worker's unit, unless the operator says otherwise."""

from __future__ import annotations

import pytest
from controller import evaluate

SIZE = {
    "parallelism": 24,
    "max_active_tasks_per_dag": 12,
    "default_pool": 24,
    "api_workers": 2,
    "workers": {name: {"concurrency": 8} for name in ("plain", "own", "cluster", "older")},
}
SIZE["workers"]["scaled"] = SIZE["workers"]["fixed"] = {"autoscale": "9,3"}
HOSTS = {
    "plain": {},
    "scaled": {},
    "own": {"airflow_service_worker_concurrency": 3},
    "fixed": {"airflow_service_worker_concurrency": 3},
    "cluster": {"airflow_options": {"celery": {"worker_concurrency": 5}, "core": {"parallelism": 99}}},
    "newcomer": {},
    "older": {"airflow_version": "1.10.15"},
}


def sized(folder, hosts):
    """What the roles make of the variables, by host."""
    shown = {
        "config": "{{ airflow_deployment.config }}",
        "digest": "{{ airflow_deployment.digest }}",
        "environment": "{{ __airflow_service_worker_environment }}",
        "pools": "{{ __airflow_objects_pools }}",
    }
    roles = ["airflow_service", "airflow_objects"]
    return evaluate(folder, {"worker": hosts}, shown, roles, airflow_size=SIZE)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return sized(tmp_path_factory.mktemp("size"), HOSTS)


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("plain", {"AIRFLOW__CELERY__WORKER_CONCURRENCY": 8}),
        ("scaled", {"AIRFLOW__CELERY__WORKER_AUTOSCALE": "9,3"}),
        ("own", {"AIRFLOW__CELERY__WORKER_CONCURRENCY": 3}),
        # Celery would heed the range alone.
        ("fixed", {"AIRFLOW__CELERY__WORKER_CONCURRENCY": 3}),
        # The unit's environment would win over the operator's option.
        ("cluster", {}),
        ("newcomer", {}),
        ("older", {"AIRFLOW__CELERY__WORKER_CONCURRENCY": 8}),
    ],
)
def test_a_worker_runs_as_many_tasks(found, name, wanted):
    assert found[name]["environment"] == wanted


def test_what_all_hosts_share(found):
    lines = found["plain"]["config"].splitlines()
    assert {"parallelism = 24", "max_active_tasks_per_dag = 12", "workers = 2"} <= set(lines)
    assert found["plain"]["pools"] == [{"name": "default_pool", "slots": 24}]
    assert "parallelism = 99" in found["cluster"]["config"].splitlines()
    assert "dag_concurrency = 12" in found["older"]["config"].splitlines()


def test_workers_share_a_deployment_whatever_their_size(found):
    assert len({found[name]["digest"] for name in ("plain", "scaled", "own", "fixed", "newcomer")}) == 1
