# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pods are told of a deployment: all of its configuration, and no secret but by its name."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils import _deployment
from ansible_collections.dataops.airflow.plugins.plugin_utils._kubernetes import (
    kubernetes_advice,
    kubernetes_servers,
    pod_environment,
    read_kubeconfig,
)

FACTS = release("3.3.2")
OPTIONS = {
    "core": {"executor": "KubernetesExecutor", "fernet_key": "the-key", "load_examples": False},
    "database": {"sql_alchemy_conn": "postgresql://s3cret"},
    "dag_processor": {"dag_bundle_config_list": [{"name": "dags"}]},
    "kubernetes_executor": {"namespace": "airflow"},
    "logging": {"log_format": "$(date) %(message)s"},
}
OWN = {"secrets": {"backend_kwargs": "s3cret", "backend": "a.Backend"}}
CHANGES = {"core": {"executor": "LocalExecutor"}}


def environment(own=None, facts=None, more=None):
    facts, options = facts or FACTS, _deployment.merge(OPTIONS, own or {})
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom"))
        for entry in pod_environment(facts, options, own or {}, more or {}, "airflow", CHANGES)
    }


def test_the_configuration_of_the_hosts_is_in_the_environment():
    assert environment(more={"TMPDIR": "/var/tmp"}) == {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": '[{"name": "dags"}]',
        # Kubernetes would read $(date) as a variable.
        "AIRFLOW__LOGGING__LOG_FORMAT": "$$(date) %(message)s",
        "TMPDIR": "/var/tmp",
    }


def test_secrets_come_from_a_secret_of_kubernetes():
    found = environment(own=OWN)
    assert found["AIRFLOW__SECRETS__BACKEND_KWARGS"] == {
        "secretKeyRef": {"name": "airflow", "key": "AIRFLOW__SECRETS__BACKEND_KWARGS"}
    }
    assert found["AIRFLOW__SECRETS__BACKEND"] == "a.Backend"
    older = dict(FACTS, pods={"secrets": ["core.fernet_key", "database.sql_alchemy_conn"], "api": False})
    assert {name for name, value in environment(facts=older).items() if isinstance(value, dict)} == {
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    }
    assert "s3cret" not in str(found) and "the-key" not in str(environment(facts=older))


def kubeconfig(**user):
    return yaml.safe_dump(
        {
            "clusters": [
                {"name": "one", "cluster": {"server": "https://k8s.example.com"}},
                {"name": "two", "cluster": {"server": "http://10.0.0.1:8001/k8s/clusters/x"}},
            ],
            "users": [{"name": "u", "user": user or {"token": "t0ken"}}],
            "contexts": [
                {"name": "first", "context": {"cluster": "one", "user": "u"}},
                {"name": "second", "context": {"cluster": "two", "user": "u"}},
            ],
            "current-context": "first",
        }
    )


def test_the_server_of_a_kubeconfig():
    variable = "airflow_kubernetes_kubeconfig"
    assert kubernetes_servers(kubeconfig()) == [{"host": "k8s.example.com", "port": 443, "variable": variable}]
    assert kubernetes_servers(kubeconfig(), "second") == [{"host": "10.0.0.1", "port": 8001, "variable": variable}]
    assert kubernetes_servers("") == kubernetes_servers("[") == kubernetes_servers(kubeconfig(), "third") == []


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"command": "aws"}},
        {"client-certificate-data": "eA==", "client-key-data": "eA=="},
        {"client-certificate": "/a.crt", "client-key": "/a.key"},
        {"tokenFile": "/run/token"},
    ],
)
def test_credentials_of_all_kinds(user):
    assert read_kubeconfig(kubeconfig(**user)) == ("https://k8s.example.com", "", "")


def test_a_deployment_holds_the_files():
    made = _deployment.build(
        FACTS,
        "/opt/airflow/releases/one",
        "/opt/airflow",
        {
            "core": {"fernet_key": "k"},
            "kubernetes_executor": {"config_file": "@deployment@/secrets/kubernetes.kubeconfig"},
        },
        {},
        {"pod_template.yml": "kind: Pod\n"},
        {"kubernetes.kubeconfig": "s3cret"},
    )
    assert "config_file = %s/secrets/kubernetes.kubeconfig\n" % made["path"] in made["config"]
    assert made["files"]["pod_template.yml"] == "kind: Pod\n"
    assert made["secrets"]["kubernetes.kubeconfig"] == "s3cret" and "kubernetes.kubeconfig" in made["fingerprints"]
    assert "s3cret" not in str({name: value for name, value in made.items() if name != "secrets"})
    plain = _deployment.build(FACTS, "/r", "/opt", {"core": {"fernet_key": "k"}}, {}, {}, {})
    assert plain["digest"] == _deployment.build(FACTS, "/r", "/opt", {"core": {"fernet_key": "k"}}, {})["digest"]


@pytest.mark.parametrize("name, value", [("pod_template.yml", "kind: Pod\n"), ("kubernetes.kubeconfig", "x")])
def test_the_digest_changes_with_them(name, value):
    def digest(**files):
        side = {"secret_files": files} if name == "kubernetes.kubeconfig" else {"files": files}
        return _deployment.build(FACTS, "/r", "/opt", {"core": {"fernet_key": "k"}}, {}, **side)["digest"]

    assert len({digest(), digest(**{name: value}), digest(**{name: value + "2"})}) == 3


def test_logs_of_pods_need_another_place():
    assert kubernetes_advice(FACTS, {})[0].startswith("airflow_options.logging.remote_logging: ")
    assert kubernetes_advice(FACTS, {"logging": {"remote_logging": True}}) == []
    assert kubernetes_advice(release("1.10.15"), {"core": {"remote_logging": "True"}}) == []
