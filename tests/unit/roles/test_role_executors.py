# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from the executor for packages, components, connections and the gate. Nothing connects to a host."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest
from controller import play

ROOT = pathlib.Path(__file__).resolve().parents[3]
KUBECONFIG = """
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t0ken-of-the-cluster}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


class Cluster:
    """An inventory of a master and a worker, and runs of playbooks on it."""

    def __init__(self, folder):
        self.folder = folder
        self.shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "airflow_root": str(folder / "root"),
            "airflow_lock_file": "",
            "airflow_database_host": "127.0.0.1",
            "airflow_database_port": 1,
            "airflow_fernet_key": "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ=",
            "airflow_api_secret_key": "k" * 40,
            "airflow_jwt_secret": "j" * 40,
            "airflow_admin_password": "correct horse battery",
            "airflow_kubernetes_kubeconfig": KUBECONFIG,
            "airflow_kubernetes_image": "registry.example.com/airflow:1",
            "airflow_kubernetes_execution_api_url": "http://lb.example.com:8080/execution/",
        }

    def run(self, playbook, *arguments, **declared):
        hosts = {"vars": dict(self.shared, **declared), "children": {}}
        hosts["children"] = {"master": {"hosts": {"m1": {}}}, "worker": {"hosts": {"w1": {}}}}
        (self.folder / "hosts.json").write_text(json.dumps({"all": hosts}))
        done = play(self.folder, *arguments, playbook=playbook)
        return done.returncode, done.stdout

    def facts(self, **declared):
        """What each host makes of the variables."""
        shown = {
            "requirements": "{{ _airflow_requirements }}",
            "components": "{{ airflow_components }}",
            "connections": "{{ airflow_database_connections }}",
            "sections": "{{ _airflow_options | list }}",
        }
        tasks = [
            {"ansible.builtin.import_role": {"name": "dataops.airflow.airflow", "tasks_from": "validate"}},
            {
                "ansible.builtin.copy": {
                    "content": "{{ shown | to_json }}",
                    "dest": str(self.folder) + "/{{ inventory_hostname }}.json",
                    "mode": "0600",
                },
                "vars": {"shown": shown},
            },
        ]
        play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
        play["vars_files"] = [str(ROOT / "roles/airflow_database/defaults/main.yml")]
        (self.folder / "play.json").write_text(json.dumps([play]))
        rc, said = self.run("play.json", **declared)
        assert rc == 0, said
        return {name: json.loads((self.folder / f"{name}.json").read_text()) for name in ("m1", "w1")}


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_pods_alone_need_neither_workers_nor_a_broker(cluster):
    found = cluster.facts(airflow_executor="KubernetesExecutor")
    assert found["w1"]["components"] == [] and "worker" not in found["m1"]["components"]
    assert "worker" not in found["m1"]["connections"]
    assert not [section for section in found["m1"]["sections"] if section.startswith("celery")]
    assert "cncf-kubernetes" in found["m1"]["requirements"][0]


def test_pods_beside_celery(cluster):
    found = cluster.facts(airflow_executor="CeleryExecutor,KubernetesExecutor", airflow_broker_host="b1")
    assert found["w1"]["components"] == ["worker"]
    assert found["m1"]["connections"]["worker"] == 17 and "pods" not in found["m1"]["connections"]
    assert {"celery", "kubernetes_executor"} <= set(found["m1"]["sections"])


def test_pods_that_connect_to_the_database_are_counted(cluster):
    found = cluster.facts(
        airflow_version="2.11.2",
        airflow_executor="CeleryKubernetesExecutor",
        airflow_broker_host="b1",
        airflow_options={"core": {"parallelism": 20}},
    )
    assert found["m1"]["connections"]["pods"] == 20
    assert found["w1"]["components"] == ["worker"]


def test_without_pods_there_is_nothing_of_them(cluster):
    found = cluster.facts(airflow_broker_host="b1")
    assert "kubernetes_executor" not in found["m1"]["sections"]
    assert "kubernetes" not in found["m1"]["requirements"][0]


def test_the_gates_tell_of_what_is_missing_and_show_no_credentials(cluster):
    rc, said = cluster.run(
        "dataops.airflow.site", "--tags", "always", airflow_executor="KubernetesExecutor", airflow_kubernetes_image=""
    )
    assert rc != 0 and "airflow_kubernetes_image: it is missing" in said
    assert "airflow_broker_host" not in said and "groups.worker" not in said
    # A warning is folded.
    assert "a pod takes its task's log with it" in " ".join(said.split())
    rc, said = cluster.run("dataops.airflow.site", "--tags", "always", "-vvv", airflow_executor="KubernetesExecutor")
    assert rc != 0 and "m1: airflow_kubernetes_kubeconfig: nothing answers on 127.0.0.1 port 1" in said
    assert "t0ken-of-the-cluster" not in said
