# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exporter of processes and queues, with a broker that is made up. tests/integration/exporter has a real one."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import threading
import urllib.error
import urllib.request

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "roles/airflow_metrics/files/airflow_metrics.py"


@pytest.fixture
def metrics():
    spec = importlib.util.spec_from_file_location("airflow_metrics", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Told:
    """Samples of a broker that counts how often it was asked."""

    def __init__(self):
        self.asked = 0

    def samples(self):
        self.asked += 1
        return [("airflow_queue_length", {"queue": "q"}, self.asked)]


def test_text(metrics):
    samples = [
        ("airflow_worker_slots", {"worker": 'b"\\\n'}, 4),
        ("airflow_celery_up", {}, 1),
        ("airflow_worker_slots", {"worker": "a"}, 8),
        ("airflow_deployment_info", {"release": "r", "component": "c", "deployment": "d"}, 1),
    ]
    assert metrics.text(samples) == (
        "# HELP airflow_celery_up Whether the broker could be asked.\n"
        "# TYPE airflow_celery_up gauge\n"
        "airflow_celery_up 1\n"
        "# HELP airflow_deployment_info The deployment and the release that a running process was started from.\n"
        "# TYPE airflow_deployment_info gauge\n"
        'airflow_deployment_info{component="c",deployment="d",release="r"} 1\n'
        "# HELP airflow_worker_slots Processes of a worker's pool, of each worker that answered.\n"
        "# TYPE airflow_worker_slots gauge\n"
        'airflow_worker_slots{worker="a"} 8\n'
        'airflow_worker_slots{worker="b\\"\\\\\\n"} 4\n'
    )


@pytest.mark.parametrize(
    "config",
    [
        "[celery]\nbroker_url = redis://:a%%2Fb@h:6379/0\n",
        "[celery]\nbroker_url_cmd = printf '%%s' 'redis://:a%%2Fb@h:6379/0'\n",
    ],
)
def test_broker_url(metrics, tmp_path, monkeypatch, config):
    monkeypatch.delenv("AIRFLOW__CELERY__BROKER_URL", raising=False)
    path = tmp_path / "airflow.cfg"
    path.write_text(config)
    assert metrics.broker_url(str(path)) == "redis://:a%2Fb@h:6379/0"
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://elsewhere")
    assert metrics.broker_url(str(path)) == "redis://elsewhere"


class Proc:
    """Files of /proc that are made up."""

    def __init__(self, metrics, monkeypatch):
        self.files = {}
        monkeypatch.setattr(metrics, "read", lambda path: self.files.get(path, ""))
        monkeypatch.setattr(metrics.os, "listdir", lambda path: ["self", *{name.split("/")[2] for name in self.files}])

    def add(self, pid, unit, parent=1, **environment):
        variables = "".join(f"{name}={value}\0" for name, value in environment.items())
        self.files[f"/proc/{pid}/environ"] = variables + "TEXT=a=b\0rest\0"
        self.files[f"/proc/{pid}/stat"] = f"{pid} (odd) name) S {parent} 1 1"
        self.files[f"/proc/{pid}/cgroup"] = f"0::/system.slice/{unit}.service\n"


def test_deployments(metrics, monkeypatch):
    proc = Proc(metrics, monkeypatch)
    ours = {"AIRFLOW_DEPLOYMENT": "1a2b", "VIRTUAL_ENV": "/opt/airflow/releases/3.3.2-9f3c"}
    proc.add(1, "init")
    proc.add(10, "airflow-dag-processor", **ours)
    proc.add(11, "airflow-dag-processor", parent=10, **ours)
    proc.add(12, "airflow-metrics", **ours)
    proc.add(13, "session-1", **ours)
    proc.add(14, "airflow-scheduler", AIRFLOW_DEPLOYMENT="3c4d")
    assert sorted(metrics.deployments(), key=str) == [
        (
            "airflow_deployment_info",
            {"component": "dag_processor", "deployment": "1a2b", "release": "3.3.2-9f3c"},
            1,
        ),
        ("airflow_deployment_info", {"component": "scheduler", "deployment": "3c4d", "release": ""}, 1),
    ]


def test_an_answer_is_good_for_a_while(metrics, monkeypatch):
    monkeypatch.setattr(metrics, "deployments", list)
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    broker = Told()
    told = metrics.Metrics(broker)
    assert told.text() == told.text() and broker.asked == 1
    now[0] += metrics.FRESH
    assert told.text().endswith('airflow_queue_length{queue="q"} 2\n')
    assert metrics.Metrics(None).text() == "\n"


@pytest.fixture
def url(metrics, monkeypatch):
    """A server of it."""
    monkeypatch.setattr(metrics, "deployments", list)
    server = metrics.HTTPServer(("127.0.0.1", 0), metrics.Handler)
    server.metrics = metrics.Metrics(Told())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "http://127.0.0.1:%d" % server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_served(url):
    with urllib.request.urlopen(url + "/metrics?x=y") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.read().decode().endswith('airflow_queue_length{queue="q"} 1\n')
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url + "/")


class Refused(Exception):
    """Of a broker that says its address, as kombu does."""


def test_a_broker_that_is_away(metrics, monkeypatch, capsys):
    def ask(app):
        raise Refused("cannot connect to redis://:s3cret@h:6379/0")

    monkeypatch.setattr(metrics, "celery", ask)
    broker = object.__new__(metrics.Broker)
    broker.app = None
    assert broker.samples() == [("airflow_celery_up", {}, 0)]
    assert capsys.readouterr().err == "cannot ask the broker: Refused\n"


def test_its_syntax_is_that_of_the_oldest_python_of_a_release():
    """tests/integration/exporter runs it with the Pythons that the releases have there."""
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
