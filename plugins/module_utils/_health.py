# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Proves that a component lives, by what it says and not by the code it says it with."""

from __future__ import annotations

import http.client
import json
import socket

from ._health_helper import SOURCE
from ._runner import RunnerError

HEALTH_ARGUMENTS = dict(
    kind=dict(type="str", choices=["api", "job", "worker", "port"], required=True),
    port=dict(type="int"),
    address=dict(type="str", default="127.0.0.1"),
    path=dict(type="str"),
    job_type=dict(type="str"),
    worker=dict(type="str"),
)
HEALTH = dict(
    type="dict",
    options=HEALTH_ARGUMENTS,
    required_if=[
        ("kind", "api", ("port", "path")),
        ("kind", "port", ("port",)),
        ("kind", "job", ("job_type",)),
        ("kind", "worker", ("worker",)),
    ],
)


def trouble(health, state, runner, patience=0, timeout=10):
    """Why the component is not healthy; an empty text when it is. It is given `patience` seconds to become it.

    `state` is what _units.show says of its unit: a heartbeat or an answer counts only from the process that runs now.
    """
    return troubles({"it": (health, state)}, runner, patience, timeout)["it"]


def troubles(asked, runner, patience=0, timeout=10):
    """As trouble(), of several components: `asked` holds health and state by name."""
    found, programs = {}, {}
    for name, (health, state) in asked.items():
        if health["kind"] == "port":
            found[name] = _port(health, timeout)
        elif health["kind"] == "api":
            found[name] = _api(health["port"], health["path"], timeout)
        else:
            programs[name] = dict(health, pid=state["pid"], started=state["started"])
    if programs:
        # To start the program costs more than all it does: one asks about all of them.
        request = dict(kind="components", components=programs, config=runner.config, patience=patience)
        try:
            answer = runner.python(SOURCE, request, timeout=patience + timeout + 20)["trouble"]
        except RunnerError as error:
            answer = str(error)
        found.update(answer if isinstance(answer, dict) else dict.fromkeys(programs, answer))
    return found


def queue_depths(queues, runner, timeout=10):
    """Messages that wait in each queue, None where the broker could not be asked."""
    request = dict(kind="queues", queues=queues, config=runner.config)
    try:
        found = runner.python(SOURCE, request, timeout=timeout + 20)["trouble"]
    except RunnerError:
        found = None
    return {name: found.get(name) if isinstance(found, dict) else None for name in queues}


def ask_broker(runner, timeout=10):
    """Which broker the release's own client finds, and the kind of trouble it has with it, empty when there is none."""
    request = dict(kind="broker", config=runner.config)
    found = runner.python(SOURCE, request, timeout=timeout + 20)["trouble"]
    if not isinstance(found, dict):
        raise RunnerError(found)
    return found


def _port(health, timeout):
    try:
        socket.create_connection((health["address"], health["port"]), timeout=timeout).close()
    except OSError as error:
        return "nothing answers on port %s: %s" % (health["port"], error)
    return ""


def _api(port, path, timeout):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return "no answer on port %s: %s" % (port, error)
    finally:
        connection.close()
    try:
        status = json.loads(content)["metadatabase"]["status"]
    except (ValueError, KeyError, TypeError):
        return "%s answers with code %s and no health in it" % (path, answer.status)
    return "" if status == "healthy" else "%s says the metadata database is %s" % (path, status)
