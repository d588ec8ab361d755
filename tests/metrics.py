# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Six hours of a cluster that does not exist, as its exporters would have told: three masters and three workers. An
hour before the end a worker is gone for twenty minutes.
"""

from __future__ import annotations

import math
import random

HOURS = 6
STEP = 60

MASTERS = ["airflow-m1", "airflow-m2", "airflow-m3"]
WORKERS = ["airflow-w1", "airflow-w2", "airflow-w3"]
MONITOR = "airflow-monitor"
HOSTS = [*MASTERS, *WORKERS, "airflow-db", "airflow-redis", MONITOR]
LOST = "airflow-w3"
QUEUES = {"default": 3, "reports": 2}
POOLS = {"default_pool": 128, "warehouse": 8, "unbounded": -1}
UNITS = {
    **dict.fromkeys(MASTERS, ["api-server", "scheduler", "dag-processor", "triggerer", "proxy"]),
    **dict.fromkeys(WORKERS, ["worker", "proxy"]),
    "airflow-redis": ["redis"],
}
GIB = 2**30


class Moment:
    """What is the case at a time, given in seconds before the end."""

    def __init__(self, ago):
        self.ago = ago
        self.passed = HOURS * 3600 - ago
        self.outage = 2400 < ago <= 3600
        self.noise = random.Random(ago).random
        self.wave = (math.sin(self.passed / 1500) + 1) / 2
        slots = 48 if self.outage else 72
        wanted = 18 + 34 * self.wave + 6 * self.noise() + (26 if 2100 < ago <= 4200 else 0)
        self.slots = slots
        self.running = int(min(wanted, slots))
        self.queued = int(max(0, wanted - slots) + 2 * self.noise())

    def alive(self, host):
        return not (self.outage and host == LOST)


def shares(total, **parts):
    """A number in whole parts of these weights."""
    whole = {name: int(total * part) for name, part in parts.items()}
    first = next(iter(whole))
    whole[first] += total - sum(whole.values())
    return whole


def samples(now):
    """(metric, labels, value) of all targets at a moment."""

    def asked(name, value, **labels):
        return name, {"job": "airflow", "instance": MONITOR, **labels}, value

    # job airflow
    yield asked("airflow_num_queued_tasks", now.queued)
    yield asked("airflow_num_running_tasks", now.running)
    yield asked("airflow_oldest_queued_task_age_seconds", 15 * now.queued + 10 * now.noise() if now.queued else 0)
    for state, number in (
        ("running", now.running),
        ("queued", now.queued),
        ("scheduled", int(4 + 8 * now.wave)),
        ("deferred", int(3 + 3 * now.noise())),
        ("up_for_retry", 2 if now.outage else 0),
        ("up_for_reschedule", 1),
        ("restarting", 0),
    ):
        for queue, some in shares(number, default=0.7, reports=0.3).items():
            pools = shares(some, default_pool=0.8, warehouse=0.1, unbounded=0.1)
            for pool, count in pools.items():
                # As in SQL: what there is none of has no row.
                if count:
                    yield asked("airflow_task_instances", count, state=state, queue=queue, pool=pool)
    yield asked("airflow_tasks_ended", int(40 + 60 * now.wave), state="success")
    yield asked("airflow_tasks_ended", 9 if 1800 < now.ago <= 3600 else 2, state="failed")
    yield asked("airflow_dag_runs", int(2 + 6 * now.wave), state="queued")
    yield asked("airflow_dag_runs", int(6 + 10 * now.wave), state="running")
    yield asked("airflow_dag_runs", 18200 + now.passed // 25, state="success")
    yield asked("airflow_dag_runs", 310 + now.passed // 700, state="failed")
    for component, beat in (("scheduler", 5), ("dag_processor", 10), ("triggerer", 5)):
        yield asked("airflow_heartbeat_age_seconds", 1 + beat * now.noise() / 4, component=component)
        for host in MASTERS:
            yield asked(
                "airflow_host_heartbeat_age_seconds", 2 + beat * now.noise() / 4, component=component, hostname=host
            )
    for pool, slots in POOLS.items():
        taken = {"default_pool": int(now.running * 0.8), "warehouse": min(8, int(now.running * 0.14) + 2)}
        yield asked("airflow_pool_slots", slots, pool=pool)
        yield asked("airflow_pool_open_slots", slots if slots < 0 else slots - taken[pool], pool=pool)
        yield asked("airflow_pool_waiting_tasks", 3 if pool == "warehouse" and taken[pool] == 8 else 0, pool=pool)
    yield asked("airflow_import_errors", 1 if 5400 < now.ago <= 6300 else 0)
    yield asked("airflow_database_connections", int(46 + 20 * now.wave + 5 * now.noise()))
    yield asked("airflow_database_connections_limit", 100)
    yield asked("airflow_database_time_seconds", now.time - 15 * now.noise())

    # job airflow_host
    for host in HOSTS:
        labels = {"job": "airflow_host", "instance": host}
        for unit in UNITS.get(host, []) if now.alive(host) and host != "airflow-redis" else []:
            component = {"component": unit.replace("-", "_"), "release": "3.3.2-9f3c61d2", "deployment": "4be01c77"}
            yield "airflow_deployment_info", {**labels, **component}, 1
        if host in MASTERS:
            yield "airflow_celery_up", labels, 1
            for worker in WORKERS:
                if now.alive(worker):
                    yield "airflow_worker_slots", {**labels, "worker": worker}, 24
            for queue, readers in QUEUES.items():
                gone = now.outage and queue == "reports"
                yield "airflow_queue_workers", {**labels, "queue": queue}, readers - gone
                yield "airflow_queue_length", {**labels, "queue": queue}, int(now.queued * now.noise() / 2)

    # job airflow_statsd
    for host in MASTERS + WORKERS:
        labels = {"job": "airflow_statsd", "instance": host}
        if host in MASTERS:
            for name, rate in (("scheduler_heartbeat", 0.2), ("ti.start", 0.06), ("dag_processing.processes", 0.5)):
                yield "airflow_statsd_counter_total", {**labels, "name": name}, int(now.passed * rate)
            for name, value in (
                ("executor.open_slots", now.slots - now.running),
                ("executor.queued_tasks", now.queued),
                ("executor.running_tasks", now.running),
                ("dag_processing.total_parse_time", 1.5 + now.noise()),
            ):
                yield "airflow_statsd_gauge", {**labels, "name": name}, value
            timer = {"name": "scheduler.critical_section_duration-average"}
            yield "airflow_statsd_timer_seconds", {**labels, **timer}, 0.02 + now.noise() / 50

    # job node
    for place, host in enumerate(HOSTS):
        labels = {"job": "node", "instance": host}
        if host in WORKERS:
            labels["worker"] = host
        busy = 0.15 + 0.04 * place
        for mode, share in (("idle", 1 - busy), ("user", busy)):
            for cpu in "01":
                yield "node_cpu_seconds_total", {**labels, "cpu": cpu, "mode": mode}, now.passed * share
        yield "node_load1", labels, 2 * busy + now.noise()
        yield "node_memory_MemTotal_bytes", labels, 8 * GIB
        yield "node_memory_MemAvailable_bytes", labels, (5 - 2 * now.wave - place / 8) * GIB
        disk = {"device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/"}
        yield "node_filesystem_size_bytes", {**labels, **disk}, 80 * GIB
        yield "node_filesystem_avail_bytes", {**labels, **disk}, (50 - 3 * place) * GIB - now.passed * 10**5
        yield "node_disk_io_time_seconds_total", {**labels, "device": "vda"}, now.passed * busy / 3
        yield "node_network_receive_bytes_total", {**labels, "device": "eth0"}, now.passed * 10**5 * (place + 1)
        yield "node_network_transmit_bytes_total", {**labels, "device": "eth0"}, now.passed * 10**5
        yield "node_time_seconds", labels, now.time + place / 100
        for unit in UNITS.get(host, []):
            for state in ("active", "failed", "inactive"):
                is_so = state == ("active" if now.alive(host) else "inactive")
                yield "node_systemd_unit_state", {**labels, "name": f"airflow-{unit}.service", "state": state}, is_so

    # job redis
    labels = {"job": "redis", "instance": "airflow-redis"}
    yield "redis_up", labels, 1
    yield "redis_connected_clients", labels, 40 + now.running
    yield "redis_blocked_clients", labels, 6
    yield "redis_memory_used_bytes", labels, (20 + now.queued) * 2**20
    yield "redis_commands_processed_total", labels, now.passed * 90

    # job database: of a real cluster there is one of the two.
    labels = {"job": "database", "instance": "airflow-db"}
    yield "pg_up", labels, 1
    for state, number in (("active", 4), ("idle", 44 + int(20 * now.wave))):
        yield "pg_stat_activity_count", {**labels, "datname": "airflow", "state": state}, number
    yield "pg_settings_max_connections", labels, 100
    for name, rate in (("xact_commit", 120), ("xact_rollback", 3), ("blks_hit", 9000), ("blks_read", 60)):
        yield f"pg_stat_database_{name}", {**labels, "datname": "airflow"}, now.passed * rate
    yield "mysql_up", labels, 1
    yield "mysql_global_status_threads_connected", labels, 60
    yield "mysql_global_variables_max_connections", labels, 151
    for handler in ("commit", "rollback"):
        yield "mysql_global_status_handlers_total", {**labels, "handler": handler}, now.passed * 50
    yield "mysql_global_status_innodb_buffer_pool_reads", labels, now.passed
    yield "mysql_global_status_innodb_buffer_pool_read_requests", labels, now.passed * 200

    # What Prometheus adds: up.
    for job, instances in (
        ("airflow", [MONITOR]),
        ("airflow_host", MASTERS + WORKERS),
        ("airflow_statsd", MASTERS + WORKERS),
        ("node", HOSTS),
        ("redis", ["airflow-redis"]),
        ("database", ["airflow-db"]),
        ("prometheus", [MONITOR]),
        ("alertmanager", [MONITOR]),
    ):
        for instance in instances:
            yield "up", {"job": job, "instance": instance}, now.alive(instance)


def moment(end, ago):
    now = Moment(ago)
    now.time = end - ago
    return now


def names():
    """The metrics there are."""
    return {name for name, labels, value in samples(moment(0, 0))}


def history(end):
    """All of it until a time, as OpenMetrics."""
    series = {}
    for ago in range(HOURS * 3600, -1, -STEP):
        for name, labels, value in samples(moment(end, ago)):
            line = name + "{" + ",".join(f'{key}="{content}"' for key, content in labels.items()) + "}"
            series.setdefault(name, []).append(f"{line} {float(value)} {end - ago}")
    lines = []
    for name, values in series.items():
        # The type matters to nobody here, and as counters their names would have to end in one way.
        lines += [f"# TYPE {name} unknown", *values]
    return "\n".join([*lines, "# EOF", ""])
