# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Prometheus as a process of the tests, with a past or with something to watch, and questions to any."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]


def get(url):
    """What is at a URL, also when it is an error."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def ask(url, query):
    """What a Prometheus answers: a list of series."""
    answer = json.loads(get(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    assert answer["status"] == "success", answer["error"]
    return answer["data"]["result"]


def wait(condition, otherwise):
    """The first true answer of a condition."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(otherwise)


def answers(url):
    """Whether a Prometheus is ready."""
    try:
        return "Ready" in get(f"{url}/-/ready")
    except OSError:
        return False


def tree(package):
    """The directory of the programs of one of Debian's packages."""
    script = f". bench/lib.sh; package_tree {package}"
    return pathlib.Path(subprocess.check_output(["bash", "-c", script], cwd=ROOT, text=True).strip())


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(place, history="# EOF\n", rules="", consoles=None, prefix="", scrapes=()):
    """The URL of a Prometheus that remembers a history given as OpenMetrics, and scrapes nothing unless told."""
    where = tree("prometheus")
    (place / "history").write_text(history, encoding="utf-8")
    backfill = [where / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "history", "data"]
    subprocess.run(backfill, check=True, cwd=place)
    (place / "rules.yml").write_text(rules, encoding="utf-8")
    settings = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": list(scrapes),
    }
    # JSON is YAML as well.
    (place / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")
    port = free_port()
    command = [
        where / "prometheus",
        "--config.file=prometheus.yml",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.route-prefix={prefix or '/'}",
        f"--web.console.templates={consoles or place}",
        "--storage.tsdb.path=data",
        # The end of the history counts as the present, however long the tests take.
        "--query.lookback-delta=30m",
        "--log.level=warn",
    ]
    process = subprocess.Popen(command, cwd=place)
    url = f"http://127.0.0.1:{port}{prefix}"
    try:
        wait(lambda: process.poll() is not None or answers(url), "Prometheus does not start")
        assert process.poll() is None, "Prometheus has ended"
        yield url
    finally:
        process.terminate()
        process.wait(30)
