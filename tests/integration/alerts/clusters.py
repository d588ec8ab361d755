# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clusters whose rules are tested, and what Prometheus has of one in which all is well.

Values are in the notation of promtool: `1+0x9` is ten times 1.
"""

from __future__ import annotations

from ansible_collections.dataops.airflow.plugins.module_utils._releases import release

CHANGES = {
    "AirflowTaskQueued": {"for": "1m", "severity": "warning"},
    "AirflowDatabaseConnections": {"threshold": "0.5"},
    "AirflowDeadMansSwitch": {"enabled": False},
}
# By the name of the host that monitors the cluster, which is that of its rules as well.
CLUSTERS = {
    "1.10": {"airflow_version": "1.10.15"},
    "2.11": {"airflow_version": "2.11.2"},
    "3.3": {"airflow_version": "3.3.2"},
    # One host, without Celery and StatsD, and with a DAG processor of its own.
    "local": {
        "airflow_version": "2.11.2",
        "airflow_master_group": "lone",
        "airflow_worker_group": "nobody",
        "airflow_executor": "LocalExecutor",
        "airflow_statsd": False,
        "airflow_options": {"scheduler": {"standalone_dag_processor": True}},
    },
    "changed": {"airflow_version": "3.3.2", "airflow_alerts": CHANGES, "airflow_alert_runbook_url": "wiki/{alert}"},
}

INTERVAL = 15
SAMPLES = 320  # 80 minutes
MASTERS, WORKERS, OTHERS = ("m1", "m2"), ("w1", "w2"), ("db1", "mq1", "mon1")
CLOCK = f"0+{INTERVAL}x{SAMPLES}"
DISK = 'device="/dev/vda1",fstype="ext4",mountpoint="/"'


def steady(value):
    return f"{value}+0x{SAMPLES}"


def series(metric, value=0, /, **labels):
    """A series as an entry of a dictionary."""
    inside = ",".join(f'{label}="{content}"' for label, content in sorted(labels.items()))
    return {f"{metric}{{{inside}}}" if inside else metric: steady(value)}


def healthy(version):
    """The series of two masters, two workers, a database, a broker and a monitor, with their labels in order."""
    components = release(version)["components"]
    found = {}

    def add(metric, value, /, **labels):
        found.update(series(metric, value, **labels))

    for host in MASTERS + WORKERS + OTHERS:
        named = {"worker": host} if host in WORKERS else {}
        add("up", 1, job="node", instance=host, **named)
        clock = series("node_time_seconds", 0, job="node", instance=host, **named)
        found.update(dict.fromkeys(clock, CLOCK))
        disk = {"job": "node", "instance": host, "device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/", **named}
        add("node_filesystem_size_bytes", 100, **disk)
        add("node_filesystem_avail_bytes", 60, **disk)
    for host in MASTERS + WORKERS:
        named = {"worker": host} if host in WORKERS else {}
        place = "master" if host in MASTERS else "worker"
        add("up", 1, job="airflow_host", instance=host)
        add("up", 1, job="airflow_statsd", instance=host)
        units = {"proxy": "airflow-proxy"}
        for name, component in components.items():
            # What may run once runs on the first.
            if component["on"] == place and not (component["single"] and host != MASTERS[0]):
                units[name] = component["unit"]
                labels = {"component": name, "deployment": "0f3a9be41c22", "release": version}
                add("airflow_deployment_info", 1, job="airflow_host", instance=host, **labels)
                if "job_type" in component:
                    labels = {"component": name, "hostname": host}
                    add("airflow_host_heartbeat_age_seconds", 3, job="airflow", instance="mon1", **labels)
        for unit in units.values():
            for state, value in (("active", 1), ("failed", 0), ("inactive", 0)):
                labels = {"name": f"{unit}.service", "state": state, **named}
                add("node_systemd_unit_state", value, job="node", instance=host, **labels)
    for host in MASTERS:
        add("airflow_celery_up", 1, job="airflow_host", instance=host)
        add("airflow_queue_workers", 2, job="airflow_host", instance=host, queue="default")
        add("airflow_queue_length", 0, job="airflow_host", instance=host, queue="default")
        for worker in WORKERS:
            add("airflow_worker_slots", 16, job="airflow_host", instance=host, worker=worker)
    for job in ("airflow", "redis", "database", "prometheus", "alertmanager"):
        add("up", 1, job=job, instance="mon1")
    add("redis_up", 1, job="redis", instance="mon1")
    cluster = {"job": "airflow", "instance": "mon1"}
    for name, component in components.items():
        if "job_type" in component:
            add("airflow_heartbeat_age_seconds", 3, component=name, **cluster)
    # It works: tasks run, fail now and then, and one is on its way to a worker.
    for state, value in (("queued", 1), ("running", 20), ("scheduled", 2)):
        add("airflow_task_instances", value, pool="default_pool", queue="default", state=state, **cluster)
    add("airflow_num_running_tasks", 20, **cluster)
    for counter, step in (("ti_successes", 19), ("ti_failures", 1)):
        labels = {"job": "airflow_statsd", "instance": "w1", "name": counter}
        counted = series("airflow_statsd_counter_total", **labels)
        found.update(dict.fromkeys(counted, f"0+{step}x{SAMPLES}"))
    for pool, slots, opened, waiting in (("default_pool", 128, 107, 0), ("unlimited", -1, -1, 2)):
        add("airflow_pool_slots", slots, pool=pool, **cluster)
        add("airflow_pool_open_slots", opened, pool=pool, **cluster)
        add("airflow_pool_waiting_tasks", waiting, pool=pool, **cluster)
    for name, value in (
        ("airflow_import_errors", 0),
        ("airflow_database_connections", 40),
        ("airflow_database_connections_limit", 100),
    ):
        add(name, value, **cluster)
    # Tasks are queued and taken.
    found.update(dict.fromkeys(series("airflow_num_queued_tasks", **cluster), " ".join(["1+0x2 0"] * (SAMPLES // 4))))
    found.update(dict.fromkeys(series("airflow_database_time_seconds", **cluster), CLOCK))
    return found
