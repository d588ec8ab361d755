# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The installed Airflow loads KubernetesExecutor from a deployment as it is written to a host, and makes a pod of it.

No Kubernetes is there: what a cluster does with the pod is not tested.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from controller import play, said

ROOT = pathlib.Path(__file__).resolve().parents[3]
LOCKS = ROOT / "roles/airflow_install/files/locks"
PROGRAMS = pathlib.Path(sys.executable).parent
TOKEN = "t0ken-of-the-cluster"
KUBECONFIG = (
    """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://k8s.example.com:6443"}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""
    % TOKEN
)
HOSTS = {
    "alone": {"airflow_executor": "KubernetesExecutor"},
    "beside": {"airflow_executor": "CeleryExecutor,KubernetesExecutor"},
    "older": {"airflow_version": "2.11.2", "airflow_executor": "CeleryExecutor,KubernetesExecutor"},
    "pair": {"airflow_version": "2.11.2", "airflow_executor": "CeleryKubernetesExecutor"},
    "own": {
        "airflow_executor": "KubernetesExecutor",
        "airflow_kubernetes_image": "",
        "airflow_kubernetes_pod_template": (
            "{apiVersion: v1, kind: Pod, metadata: {name: mine},"
            " spec: {containers: [{name: base, image: 'registry.example.com/mine:7'}]}}"
        ),
    },
}
# No distribution has it any more: the test bench says where there is one.
PYTHON_3_8 = pathlib.Path(os.environ.get("BENCH_PYTHON_3_8", "/nowhere")) / "bin/python3.8"
if PYTHON_3_8.exists():
    HOSTS["oldest"] = {"airflow_version": "1.10.15", "airflow_executor": "KubernetesExecutor"}
# Extra, interpreter and secrets that pods need by series.
SERIES = {
    "1": ("kubernetes,crypto", str(PYTHON_3_8), {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__CORE__SQL_ALCHEMY_CONN"}),
    "2": ("cncf-kubernetes,fab", "3.11", {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}),
    "3": ("cncf-kubernetes,fab", "3.11", set()),
}
EXECUTORS = {
    "alone": ["KubernetesExecutor"],
    "beside": ["CeleryExecutor", "KubernetesExecutor"],
    "older": ["CeleryExecutor", "KubernetesExecutor"],
    "oldest": ["KubernetesExecutor"],
    "pair": ["CeleryKubernetesExecutor"],
}
SHARED = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "airflow_group": "root",
    "airflow_lock_file": "",
    "airflow_database_host": "db1",
    "airflow_database_password": "password-of-the-database",
    "airflow_broker_host": "broker1",
    "airflow_broker_password": "password-of-the-broker",
    "airflow_fernet_key": "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ=",
    "airflow_api_secret_key": "k" * 40,
    "airflow_jwt_secret": "j" * 40,
    "airflow_kubernetes_kubeconfig": KUBECONFIG,
    "airflow_kubernetes_image": "registry.example.com:5000/airflow:3",
    "airflow_kubernetes_execution_api_url": "http://lb.example.com:8080/execution/",
    "airflow_options": {"core": {"parallelism": 7}, "secrets": {"backend_kwargs": "kwargs-of-the-backend"}},
    "airflow_environment": {"TMPDIR": "/var/tmp"},
}
SECRETS = ("password-of-the", SHARED["airflow_fernet_key"], "k" * 40, "j" * 40, TOKEN, "kwargs-of-the")


def run(*command, environment, cwd):
    done = subprocess.run(
        command, cwd=cwd, env=environment, check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The deployment of each inventory host, written by the roles' own module, and what the run printed."""
    folder = tmp_path_factory.mktemp("written")
    shared = dict(SHARED, airflow_root=str(folder / "{{ inventory_hostname }}"))
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": shared, "children": {"master": {"hosts": HOSTS}}}}))
    names = ("path", "release", "version", "config", "environment", "files", "secrets", "fingerprints")
    deployment = {
        "deployment": {name: "{{ airflow_deployment.%s }}" % name for name in names},
        "current": "{{ airflow_root }}/current",
        "group": "{{ airflow_group }}",
    }
    tasks = [
        {"ansible.builtin.import_role": {"name": "dataops.airflow.airflow", "tasks_from": "validate"}},
        {"dataops.airflow.airflow_deployment": deployment},
        {
            "ansible.builtin.file": {
                "src": "{{ airflow_deployment.path }}",
                "path": "{{ airflow_root }}/current",
                "state": "link",
            }
        },
    ]
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    shown = said(play(folder, "--diff", "-vvv"))
    assert [secret for secret in SECRETS if secret in shown] == []
    return folder


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Virtual environments by version, of the locks that the collection ships."""
    made = {}

    def make(version):
        if version not in made:
            folder = tmp_path_factory.mktemp("release")
            uv, environment = str(PROGRAMS / "uv"), dict(os.environ)
            lock = str(LOCKS / ("%s.txt" % version))
            extras, python, _secrets = SERIES[version[0]]
            (folder / "requirements").write_text(f"apache-airflow[celery,postgres,redis,{extras}]=={version}\n")
            run(uv, "venv", "-q", "--python", python, str(folder / "venv"), environment=environment, cwd=folder)
            command = [uv, "pip", "install", "-q", "--python", str(folder / "venv"), "--require-hashes"]
            command += ["--build-constraints", lock, "-c", lock, "-r", "requirements"]
            run(*command, environment=environment, cwd=folder)
            made[version] = folder / "venv/bin/python"
        return made[version]

    return make


@pytest.fixture(scope="module")
def loaded(written, releases, tmp_path_factory):
    """What the release says of a host's deployment."""
    answers = {}

    def load(name):
        if name not in answers:
            home = tmp_path_factory.mktemp("home")
            environment = {"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home)}
            environment["AIRFLOW_CONFIG"] = str(written / name / "current/airflow.cfg")
            python = releases(HOSTS[name].get("airflow_version", "3.3.2"))
            script = pathlib.Path(__file__).with_name("load_executor.py")
            said = run(str(python), str(script), environment=environment, cwd=home)
            answers[name] = json.loads(said.strip().splitlines()[-1])
        return answers[name]

    return load


@pytest.mark.parametrize("name", sorted(set(EXECUTORS) & set(HOSTS)))
def test_airflow_loads_the_executors(loaded, name):
    assert loaded(name)["loaded"] == EXECUTORS[name]


@pytest.mark.parametrize("name", HOSTS)
def test_its_client_uses_the_kubeconfig(loaded, name):
    found = loaded(name)
    assert found["server"] == "https://k8s.example.com:6443"
    assert TOKEN in found["token"]


@pytest.mark.parametrize("name", sorted(set(EXECUTORS) & set(HOSTS)))
def test_its_pods_run_the_configuration_of_the_hosts(loaded, name):
    built = loaded(name)["pod"]
    (container,) = built["spec"]["containers"]
    assert built["metadata"]["namespace"] == "airflow"
    assert container["image"] == "registry.example.com:5000/airflow:3"
    plain = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    assert plain["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert plain["AIRFLOW__CORE__PARALLELISM"] == "7" and plain["TMPDIR"] == "/var/tmp"
    assert plain["AIRFLOW__CORE__DAGS_FOLDER"] == "/var/lib/airflow/dags"
    assert "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE" not in plain
    secret = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry}
    series = HOSTS[name].get("airflow_version", "3")[0]
    wanted = {"AIRFLOW__SECRETS__BACKEND_KWARGS"} | SERIES[series][2]
    url = "http://lb.example.com:8080/execution/" if series == "3" else None
    assert plain.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL") == url
    assert secret == {variable: {"name": "airflow", "key": variable} for variable in wanted}
    assert [text for text in SECRETS if text in json.dumps(built)] == []


def test_a_template_of_ones_own(loaded):
    built = loaded("own")["pod"]
    assert built["spec"]["containers"][0]["image"] == "registry.example.com/mine:7"


@pytest.mark.parametrize("name", HOSTS)
def test_credentials_are_readable_for_airflow_alone(written, name):
    directory = (written / name / "current").resolve()
    kubeconfig = directory / "secrets/kubernetes.kubeconfig"
    assert kubeconfig.read_text() == KUBECONFIG and oct(kubeconfig.stat().st_mode & 0o777) == "0o640"
    for path in (directory / "airflow.cfg", directory / "pod_template.yml", directory / "manifest.json"):
        assert [text for text in SECRETS if text in path.read_text()] == []


def test_without_celery_there_is_nothing_of_a_broker(written):
    config = (written / "alone/current/airflow.cfg").read_text()
    assert "[celery" not in config and "[kubernetes_executor]" in config
    assert "[celery" in (written / "beside/current/airflow.cfg").read_text()
