# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What those who use the cluster see when a master goes: their tasks run on, and they stay logged in."""

from __future__ import annotations

import http.cookiejar
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

MASTERS = [f"airflow-cluster-m{number}" for number in (1, 2, 3)]
NODES = MASTERS + [f"airflow-cluster-w{number}" for number in (1, 2, 3)]
DAG = pathlib.Path(__file__).resolve().parents[1] / "dags" / "work.py"
DAGS = pathlib.Path("/var/lib/airflow/dags")


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def address(node):
    return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", node)


def is_of_the_cluster(node):
    return subprocess.run(["docker", "exec", node, "test", "-d", str(DAGS)], check=False).returncode == 0


@pytest.fixture(scope="module")
def password():
    return (
        (pathlib.Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / ".secrets" / "admin_password").read_text().strip()
    )


class Api:
    """Airflow's API on one master."""

    def __init__(self, node, password):
        self.url = f"http://{address(node)}:8080"
        self.token = self.call("POST", "/auth/token", username="admin", password=password)["access_token"]

    def call(self, method, path, **content):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        if hasattr(self, "token"):
            request.add_header("Authorization", f"Bearer {self.token}")
        data = json.dumps(content).encode() if method != "GET" else None
        with urllib.request.urlopen(request, data=data, timeout=60) as answer:
            return json.loads(answer.read() or "null")


def wait_for(what, ask, seconds=180):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = ask()
        except (urllib.error.URLError, OSError):
            found = None
        if found:
            return found
        time.sleep(2)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def test_no_task_fails_when_api_servers_go_one_after_the_other(password):
    # The third worker is one of the cluster only once it has joined; from then on it takes tasks like any other.
    for node in filter(is_of_the_cluster, NODES):
        docker("cp", str(DAG), f"{node}:{DAGS / DAG.name}")
        docker("exec", node, "chown", "airflow:airflow", str(DAGS / DAG.name))
    api = Api(MASTERS[2], password)
    wait_for("the DAG", lambda: api.call("GET", "/api/v2/dags/work"))
    run = api.call("POST", "/api/v2/dags/work/dagRuns", logical_date=None)["dag_run_id"]
    tasks = f"/api/v2/dags/work/dagRuns/{run}/taskInstances"

    def seen(*fields):
        return {tuple(task[field] for field in fields) for task in api.call("GET", tasks)["task_instances"]}

    wait_for("a task at work", lambda: ("running",) in seen("state"))
    for node in MASTERS[:2]:
        docker("exec", node, "systemctl", "stop", "airflow-webserver")
        time.sleep(15)
        assert ("failed",) not in seen("state")
        docker("exec", node, "systemctl", "start", "airflow-webserver")
        url = f"http://{address(node)}:8080/execution/health"
        wait_for("its return", lambda url=url: urllib.request.urlopen(url, timeout=5).status == 200)
    wait_for("the end", lambda: api.call("GET", f"/api/v2/dags/work/dagRuns/{run}")["state"] in ("success", "failed"))
    # Where a task ran tells what its failure is about.
    assert seen("state", "try_number") == {("success", 1)}, seen("state", "try_number", "hostname")


def test_session_outlives_the_master_that_made_it(password):
    first, second = address(MASTERS[0]), address(MASTERS[1])
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(f"http://{first}:8080/auth/login/", timeout=60).read().decode()
    form = {"username": "admin", "password": password}
    form["csrf_token"] = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page).group(1)
    browser.open(f"http://{first}:8080/auth/login/", urllib.parse.urlencode(form).encode(), timeout=60)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
    assert "_token=" in cookies
    docker("exec", MASTERS[0], "systemctl", "stop", "airflow-webserver")
    try:
        for path, sign in (("/ui/auth/me", '"username":"admin"'), ("/auth/users/userinfo/", "admin")):
            request = urllib.request.Request(f"http://{second}:8080{path}", headers={"Cookie": cookies})
            answer = urllib.request.urlopen(request, timeout=60)
            assert "/login" not in answer.url
            assert sign in answer.read().decode().replace(" ", "")
    finally:
        docker("exec", MASTERS[0], "systemctl", "start", "airflow-webserver")
