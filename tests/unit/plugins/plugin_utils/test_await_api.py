# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs tasks waits for an API server. molecule/faults has real ones."""

from __future__ import annotations

import os
import pathlib
import queue
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from certificates import certificate

SCRIPT = pathlib.Path(__file__).resolve().parents[4] / "plugins/plugin_utils/_await_api.py"


class Server(HTTPServer):
    """Answers with these codes, the last of them again and again, and notes what it was asked."""

    def __init__(self, *codes, context=None):
        self.codes, self.asked = list(codes), queue.Queue()
        super().__init__(("127.0.0.1", 0), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, user=""):
        return "http://%s127.0.0.1:%d/execution/" % (user, self.server_port)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        codes = self.server.codes
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.asked.put(self.path)

    def log_message(self, *_arguments):
        """Tests have nothing to do with what it says."""


@pytest.fixture
def serve():
    made = []

    def make(*codes, **options):
        made.append(Server(*codes, **options))
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def start(tmp_path):
    """Starts the script with this airflow.cfg and these variables; what still runs at the end is killed."""
    running = []

    def run(config="", **variables):
        (tmp_path / "airflow.cfg").write_text(config)
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment.update(variables, AIRFLOW_CONFIG=str(tmp_path / "airflow.cfg"))
        command = [sys.executable, str(SCRIPT)]
        running.append(subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def configured(url):
    return "[core]\nexecution_api_server_url = %s\n" % url


@pytest.mark.parametrize("code", [200, 404])
def test_ends_with_the_first_answer(serve, start, code):
    server = serve(code)
    process = start(configured(server.url()))
    assert (process.wait(30), process.stdout.read()) == (0, "")
    assert server.asked.get(timeout=1) == "/execution/health" and server.asked.empty()


def test_whoever_has_signed_the_certificate(serve, start, tmp_path):
    certificate(tmp_path, "own")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.crt", tmp_path / "own.key")
    server = serve(503, 200, context=context)
    process = start(configured(server.url().replace("http", "https")))
    assert process.wait(30) == 0
    assert "https://127.0.0.1" in process.stdout.readline()


def test_an_answer_of_a_proxy_alone_is_none(serve, start):
    server = serve(503, 503, 502, 200)
    process = start(configured(server.url()))
    assert process.wait(30) == 0
    # Once for each trouble, however long it lasts.
    page = server.url() + "health"
    assert process.stdout.read().splitlines() == [
        f"no API server answers at {page} yet: code {code}" for code in (503, 502)
    ]


def test_waits_for_as_long_as_nothing_answers(serve, start):
    server = serve(200)
    port = server.server_port
    server.shutdown()
    server.server_close()
    process = start(configured("http://127.0.0.1:%d/execution/" % port))
    assert "Connection refused" in process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)


def test_the_environment_has_the_last_word_and_its_password_is_not_told(serve, start):
    server = serve(503, 200)
    url = server.url("ada:not-to-be-shown@")
    process = start(configured("http://127.0.0.1:1/"), AIRFLOW__CORE__EXECUTION_API_SERVER_URL=url)
    assert process.wait(30) == 0
    said = process.stdout.read()
    assert server.url() in said and "not-to-be-shown" not in said


def test_a_configuration_without_an_address_is_not_waited_for(start):
    assert start("[core]\nexecutor = LocalExecutor\n").wait(30) == 0
