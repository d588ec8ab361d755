# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What no packaged exporter tells of a node: which deployment its processes run, and which workers read which queue.

It runs with the interpreter of a release, of whatever version, and so on Python 3.6; Airflow itself is not imported.
Usage: airflow_metrics.py ADDRESS PORT [CONFIG], where CONFIG is the airflow.cfg whose broker is asked.
"""

import configparser
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

# Seconds that workers have to answer, and for which an answer is good, however many ask for it.
PATIENCE = 2
FRESH = 10
# What only the collection's own canary sends.
CANARY = "dataops_canary."

HELP = {
    "airflow_deployment_info": "The deployment and the release that a running process was started from.",
    "airflow_celery_up": "Whether the broker could be asked.",
    "airflow_worker_slots": "Processes of a worker's pool, of each worker that answered.",
    "airflow_queue_workers": "Workers that read a queue.",
    "airflow_queue_length": "Messages that wait in a queue of the broker.",
}


def read(path):
    """The content of a file of /proc, nothing when its process is gone or another's."""
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""


def deployments():
    """A sample for each of the units' main processes."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        environment = read("/proc/%s/environ" % pid)
        if "AIRFLOW_DEPLOYMENT=" not in environment:
            continue
        # The parent is the second word after the name in parentheses, which may hold anything.
        if read("/proc/%s/stat" % pid).rpartition(")")[2].split()[1:2] != ["1"]:
            continue
        unit = re.search(r"/(airflow-[a-z-]+)\.service", read("/proc/%s/cgroup" % pid))
        if not unit or unit.group(1) == "airflow-metrics":
            continue
        variables = dict(entry.split("=", 1) for entry in environment.split("\0") if "=" in entry)
        yield (
            "airflow_deployment_info",
            {
                "component": unit.group(1)[len("airflow-") :].replace("-", "_"),
                "deployment": variables["AIRFLOW_DEPLOYMENT"],
                "release": os.path.basename(variables.get("VIRTUAL_ENV", "")),
            },
            1,
        )


def broker_url(path):
    """The address of the broker, as Airflow would read it."""
    given = os.environ.get("AIRFLOW__CELERY__BROKER_URL")
    if given:
        return given
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(path)
    if config.has_option("celery", "broker_url"):
        return config.get("celery", "broker_url").replace("%%", "%")
    command = config.get("celery", "broker_url_cmd").replace("%%", "%")
    return subprocess.check_output(shlex.split(command)).decode().strip()


def celery(app):
    """Samples of the workers that answer, and of the queues they read."""
    inspect = app.control.inspect(timeout=PATIENCE)
    queues = {}
    for worker, read_by_it in sorted((inspect.active_queues() or {}).items()):
        for queue in read_by_it:
            if not queue["name"].startswith(CANARY):
                queues.setdefault(queue["name"], set()).add(worker)
    for worker, stats in sorted((inspect.stats() or {}).items()):
        slots = (stats.get("pool") or {}).get("max-concurrency")
        if slots is not None:
            yield "airflow_worker_slots", {"worker": worker.partition("@")[2]}, slots
    for queue, workers in sorted(queues.items()):
        yield "airflow_queue_workers", {"queue": queue}, len(workers)
    with app.connection_for_read() as connection:
        for queue in sorted(queues):
            channel = connection.channel()
            try:
                length = channel.queue_declare(queue=queue, passive=True).message_count
            except connection.channel_errors:
                # With Redis, an empty queue is none.
                length = 0
            finally:
                channel.close()
            yield "airflow_queue_length", {"queue": queue}, length


class Broker:
    """The cluster's broker."""

    def __init__(self, config):
        from celery import Celery

        self.app = Celery(broker=broker_url(config))
        self.app.conf.broker_connection_retry = False
        # One that was kept would be of no use when the broker comes back.
        self.app.conf.broker_pool_limit = 0
        # Else a broker that is away holds a question up for minutes.
        self.app.conf.broker_connection_timeout = PATIENCE
        options = {"socket_timeout": 2 * PATIENCE, "socket_connect_timeout": PATIENCE, "max_retries": 0}
        self.app.conf.broker_transport_options = options

    def samples(self):
        """What it tells now."""
        try:
            found = list(celery(self.app))
        except Exception as error:
            # The text of an error may hold the address it was given, password included.
            print("cannot ask the broker: %s" % type(error).__name__, file=sys.stderr, flush=True)
            return [("airflow_celery_up", {}, 0)]
        return found + [("airflow_celery_up", {}, 1)]


def escape(value):
    """A label's value as the text format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text(samples):
    """Samples in Prometheus' text format."""
    lines, told = [], set()
    for name, labels, value in sorted(samples, key=lambda sample: (sample[0], sorted(sample[1].items()))):
        if name not in told:
            told.add(name)
            lines += ["# HELP %s %s" % (name, HELP[name]), "# TYPE %s gauge" % name]
        inner = ",".join('%s="%s"' % (key, escape(labels[key])) for key in sorted(labels))
        lines.append("%s%s %s" % (name, "{%s}" % inner if inner else "", value))
    return "\n".join(lines) + "\n"


class Metrics:
    """What is told, asked for anew no more often than it is worth."""

    def __init__(self, broker):
        self.broker = broker
        self.asked = None
        self.answer = []
        self.lock = threading.Lock()

    def text(self):
        """All samples."""
        with self.lock:
            if self.broker and (self.asked is None or time.monotonic() - self.asked >= FRESH):
                self.answer = self.broker.samples()
                self.asked = time.monotonic()
            return text(list(deployments()) + self.answer)


class Handler(BaseHTTPRequestHandler):
    """Answers Prometheus."""

    # One that connects and says nothing must not keep the others waiting.
    timeout = 10

    def do_GET(self):
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body = self.server.metrics.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """A journal has better uses than a line for each scrape."""


def main(address, port, config=None):
    """Serves until it is stopped."""
    server = type("Server", (HTTPServer,), {"address_family": socket.AF_INET6 if ":" in address else socket.AF_INET})
    with server((address, int(port)), Handler) as httpd:
        httpd.metrics = Metrics(Broker(config) if config else None)
        httpd.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
