# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters of one master and one worker on this machine: of each release that reads one folder of DAGs.

Its servers are in a container. DOCKER_IMAGE is the base image.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.module_utils._runner import Runner
from ansible_collections.dataops.airflow.plugins.plugin_utils._deployment import build, options_of
from releases import VERSIONS, Release

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAME = "dataops-airflow-test-living"
IMAGE = os.environ.get("DOCKER_IMAGE", "dataops-airflow-base:bookworm")
FERNET_KEY = "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ="
SERVERS = """
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get -qq update
apt-get -qq install -y --no-install-recommends postgresql redis-server >/dev/null
cat > /etc/postgresql/15/main/conf.d/test.conf <<END
listen_addresses = '*'
fsync = off
synchronous_commit = off
END
echo "host all all all scram-sha-256" >> /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
runuser -u postgres -- psql -qc "CREATE ROLE airflow LOGIN PASSWORD 'pw' CREATEDB"
redis-server --bind '*' --protected-mode no --save '' --daemonize yes >/dev/null
"""


def run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600, **options)
    assert done.returncode == 0, f"{argv[:4]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def remove():
    subprocess.run(["docker", "rm", "--force", "--volumes", NAME], capture_output=True, check=False)
    subprocess.run(["docker", "network", "rm", NAME], capture_output=True, check=False)


@pytest.fixture(scope="session")
def servers():
    """The address of a PostgreSQL and a Redis server."""
    remove()
    run("docker", "network", "create", NAME)
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    try:
        run(
            *["docker", "run", "--detach", "--init", "--name", NAME, "--network", NAME],
            *[word for name in proxies for word in ("--env", name)],
            *[IMAGE, "sleep", "infinity"],
        )
        run("docker", "exec", "-i", NAME, "sh", input=SERVERS)
        yield run(
            "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", NAME
        ).strip()
    finally:
        remove()


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Living:
    """A release with its deployment, its processes and what runs its programs."""

    def __init__(self, version, address, root):
        self.installed = Release(version)
        self.facts = self.installed.facts
        self.root = root
        self.port, log_port = unused_port(), unused_port()
        self.processes = {}
        for name in ("home", "dags", "plugins", "logs", "canary"):
            (root / name).mkdir()
        files = ROOT / "roles/airflow_config/files"
        shutil.copy(files / "dataops_canary.py", root / "canary")
        shutil.copytree(files / "canary_plugin", root / "canary/plugin")
        database = "airflow" + self.facts["series"].replace(".", "_")
        run("docker", "exec", NAME, "runuser", "-u", "postgres", "--", "createdb", "-O", "airflow", database)
        url = f"postgresql+psycopg2://airflow:pw@{address}/{database}"
        options = {
            "core": {
                "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
                "dags_folder": root / "dags",
                "executor": "CeleryExecutor",
                "fernet_key": FERNET_KEY,
                "load_examples": False,
                "plugins_folder": root / "plugins",
            },
            "api": {"port": self.port, "secret_key": "not a secret", "workers": 1},
            "celery": {
                "broker_url": f"redis://{address}:6379/{VERSIONS.index(version)}",
                "result_backend": "db+" + url.replace("+psycopg2", ""),
                "worker_concurrency": 1,
            },
            "database": {"sql_alchemy_conn": url},
            "logging": {"base_log_folder": root / "logs", "worker_log_server_port": log_port},
        }
        merged = options_of(self.facts, options, {}, {}, str(root / "home"))
        deployment = build(self.facts, str(self.installed.path), str(root), merged, {})
        path = pathlib.Path(deployment["path"])
        (path / "secrets").mkdir(parents=True)
        (path / "airflow.cfg").write_text(deployment["config"])
        for name, value in deployment["secrets"].items():
            (path / "secrets" / name).write_text(value)
        self.config = path / "airflow.cfg"
        self.runner = Runner(str(self.installed.path), str(root / "home"), str(self.config), "root")
        self.environment = dict(
            self.runner.environment(),
            **deployment["secret_environment"],
            PYTHONPATH=str(root / "canary/plugin"),
            C_FORCE_ROOT="1",
            # Else setproctitle writes over the environment, which tells whose process it is.
            SPT_NOENV="1",
        )

    def migrate(self):
        airflow = self.installed.path / "bin/airflow"
        run(airflow, *(self.facts["initial_command"] or self.facts["database_command"]), env=self.environment)

    def start(self, component, *arguments, **environment):
        command = [self.installed.path / "bin/airflow", *self.facts["components"][component]["command"], *arguments]
        with open(self.root / (component + ".log"), "w", encoding="utf-8") as log:
            self.processes[component] = subprocess.Popen(
                command,
                env=dict(self.environment, **environment),
                cwd=self.root / "home",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_all(self):
        # The web server has logs of its own, as on another host: it has to ask the worker for them.
        section = "CORE" if self.facts["api"] == "www_rbac" else "LOGGING"
        self.start("webserver", **{f"AIRFLOW__{section}__BASE_LOG_FOLDER": str(self.root / "home")})
        self.start("scheduler")
        words = self.facts["components"]["worker"].get("arguments", {})
        self.start("worker", words["name"], "w1", words["queues"], "default,dataops_canary.w1")
        page = f"http://127.0.0.1:{self.port}/health"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 120
        while True:
            try:
                with opener.open(page, timeout=10):
                    return
            except OSError:
                ended = [name for name, process in self.processes.items() if process.poll() is not None]
                assert not ended and time.monotonic() < deadline, (ended, self.logs())
                time.sleep(0.5)

    def logs(self):
        return {path.name: path.read_text(errors="replace")[-1500:] for path in self.root.glob("*.log")}

    def stop(self):
        """Ends all that was started, what has left its session included."""
        marker = f"AIRFLOW_CONFIG={self.config}\0".encode()
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if marker in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass
        for process in self.processes.values():
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)


@pytest.fixture(scope="module", params=[version for version in VERSIONS if not release(version)["dag_bundles"]])
def living(request, servers, tmp_path_factory):
    cluster = Living(request.param, servers, tmp_path_factory.mktemp("living"))
    try:
        cluster.migrate()
        cluster.start_all()
        yield cluster
    finally:
        cluster.stop()
