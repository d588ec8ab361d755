# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""The program that a release's own interpreter runs to ask the metadata database or the broker about a component."""

from __future__ import annotations

SOURCE = r"""
import configparser, datetime, importlib, json, os, re, shlex, socket, subprocess, sys, time


def connection_of(config):
    # Airflow before 2.3 has it in another section.
    try:
        return read(config, "database", "sql_alchemy_conn")
    except KeyError:
        return read(config, "core", "sql_alchemy_conn")


def read(config, section, name):
    variable = "AIRFLOW__%s__%s" % (section.upper(), name.upper())
    if os.environ.get(variable):
        return os.environ[variable]
    # Airflow's parser expands %, and nothing else of what is read here has one.
    if config.has_option(section, name):
        return config.get(section, name).replace("%%", "%")
    if config.has_option(section, name + "_cmd"):
        command = config.get(section, name + "_cmd").replace("%%", "%")
        return subprocess.check_output(shlex.split(command)).decode().strip()
    raise KeyError("[%s] %s is not in the configuration" % (section, name))


def hostname(config):
    if config.has_option("core", "hostname_callable"):
        module, name = re.split("[:.](?=[^:.]*$)", config.get("core", "hostname_callable"))
        return getattr(importlib.import_module(module), name)()
    if any(os.path.isdir(os.path.join(entry, "airflow", "www_rbac")) for entry in sys.path):
        return socket.getfqdn()
    # As airflow.utils.net.getfqdn, without the cost of importing airflow.
    name = socket.gethostname()
    try:
        for address in socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, 0, socket.AI_CANONNAME):
            if address[3]:
                return address[3]
    except OSError:
        pass
    return name


def job(config, asked):
    import sqlalchemy
    engine = sqlalchemy.create_engine(connection_of(config))
    query = sqlalchemy.text(
        "SELECT latest_heartbeat FROM job WHERE job_type = :type AND hostname = :host AND state = 'running' "
        "ORDER BY latest_heartbeat DESC"
    )
    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            # Otherwise it tells the time of wherever the server is.
            connection.execute(sqlalchemy.text("SET time_zone = '+00:00'"))
        rows = connection.execute(query, {"type": asked["job_type"], "host": hostname(config)}).fetchall()
    for (heartbeat,) in rows:
        # The kernel tells when a process started in terms of today's clock. A row's start_date is in terms of the clock
        # of then, which may have been set since; a heartbeat is never older than a few seconds.
        if heartbeat is not None and epoch(heartbeat) > asked["started"]:
            age = time.time() - epoch(heartbeat)
            return "" if abs(age) < 30 else "its last heartbeat is %d seconds old" % age
    return "it has sent no heartbeat since it started"


def epoch(moment):
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()


def worker(config, asked):
    from celery import Celery
    app = Celery(broker=read(config, "celery", "broker_url"))
    app.conf.broker_connection_retry = False
    name = "celery@" + asked["worker"]
    # A worker that is about to come up hears nothing of a question of before: so it is asked again soon.
    answer = app.control.inspect(destination=[name], timeout=1 if REQUEST.get("patience") else 2).stats() or {}
    if name not in answer:
        return "%s does not answer through the broker" % name
    if answer[name].get("pid") != asked["pid"]:
        return "another process answers as %s" % name
    return ""


def components(config):
    kinds = {"job": job, "worker": worker}
    return {name: guarded(kinds[asked["kind"]], config, asked) for name, asked in REQUEST["components"].items()}


def queues(config):
    from kombu import Connection
    depths = {}
    with Connection(read(config, "celery", "broker_url")) as connection:
        for name in REQUEST["queues"]:
            channel = connection.channel()
            try:
                depths[name] = channel.queue_declare(queue=name, passive=True).message_count
            except connection.channel_errors:
                depths[name] = 0
            finally:
                channel.close()
    return depths


def broker(config):
    from kombu import Connection
    connection = Connection(read(config, "celery", "broker_url"), connect_timeout=5)
    answer = {"host": connection.hostname, "port": connection.port, "database": connection.virtual_host}
    answer["encrypted"] = bool(connection.ssl)
    try:
        connection.connect()
        client = getattr(connection.default_channel, "client", None)
        replica = client is not None and client.info("replication").get("role") in ("slave", b"slave")
        answer["trouble"] = "replica" if replica else ""
    except Exception as error:
        # What a server answers holds nothing of what it was sent; other texts may hold the address, password included.
        text = " ".join(str(error).split())
        for trouble, words in (
            ("no_password", r"without any password|no password is set"),
            ("password_needed", r"NOAUTH|Authentication required"),
            ("password", r"WRONGPASS|invalid username-password|invalid password"),
            ("database", r"DB index|out of range"),
            ("rights", r"NOPERM|no permissions|has no permissions"),
            ("clients", r"max number of clients"),
        ):
            if re.search(words, text, re.I):
                answer["trouble"] = trouble
                break
        else:
            password = connection.password
            answer["trouble"] = "unreachable"
            answer["reason"] = type(error).__name__ + ": " + (text.replace(password, "***") if password else text)
    finally:
        connection.release()
    return answer


def guarded(ask, *arguments):
    try:
        return ask(*arguments)
    except Exception as error:
        # The text of a driver's error may hold the address it was given, password included.
        return "cannot ask about it: %s" % type(error).__name__


def ask():
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read(REQUEST["config"])
    return {"components": components, "queues": queues, "broker": broker}[REQUEST["kind"]](config)


def healthy(trouble):
    return isinstance(trouble, dict) and not any(trouble.values())


asked = time.monotonic()
trouble = guarded(ask)
# Waiting here is cheap; to start this program again costs more than all it does.
deadline = asked + REQUEST.get("patience", 0)
while REQUEST["kind"] == "components" and not healthy(trouble) and time.monotonic() < deadline:
    # An attempt that took this long itself is repeated without a pause.
    time.sleep(max(0, asked + 0.5 - time.monotonic()))
    asked = time.monotonic()
    trouble = guarded(ask)
print(json.dumps({"trouble": trouble}))
"""
