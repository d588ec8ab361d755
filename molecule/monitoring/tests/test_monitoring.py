# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That what happens in the cluster is seen, and told to who is to know, and nothing else is."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import pathlib
import subprocess
import time
import urllib.parse
import urllib.request

import dashboards
import pytest

MASTER, WORKER, DATABASE, MONITOR = (f"airflow-monitoring-{name}" for name in ("m1", "w1", "db", "mon"))
PROMETHEUS = "http://172.30.103.16:9090"
SITE = "dataops.airflow.site"
DAGS = pathlib.Path(__file__).parents[1] / "dags"
# Firing for as long as all is well.
ALWAYS = {"AirflowDeadMansSwitch"}


def on(node, *command, check=True):
    """What a command prints on a node."""
    finished = subprocess.run(["docker", "exec", node, *command], check=check, text=True, stdout=subprocess.PIPE)
    return finished.stdout.strip()


def until(wanted, ask, seconds):
    """Asks until the answer is the wanted one, which may be a function that says so."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask()
        if wanted(found) if callable(wanted) else found == wanted:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(2)


def ask(path, **parameters):
    """What Prometheus answers."""
    url = f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)["data"]


def series(query):
    """The series of a query, as pairs of labels and value."""
    return [(found["metric"], float(found["value"][1])) for found in ask("query", query=query)["result"]]


def value(query):
    """The one value of a query, None where there is none."""
    found = series(query)
    assert len(found) < 2, found
    return found[0][1] if found else None


def firing():
    """The names of the alerts that fire."""
    return {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"} - ALWAYS


def told(kind, alert=None):
    """What somebody was told, of Slack's messages those about one alert."""
    lines = on(MONITOR, "sh", "-c", "cat /var/lib/receiver/told 2>/dev/null", check=False).splitlines()
    messages = [line for line in map(json.loads, lines) if line["path"].startswith(f"/{kind}/")]
    if alert:
        messages = [line for line in messages if alert in line["body"]["attachments"][0]["title"]]
    return messages


def trigger(dag):
    on(MASTER, "airflow", "dags", "trigger", dag)


@pytest.fixture(scope="module", autouse=True)
def dags():
    """The DAGs of this scenario, once the cluster knows them."""
    subprocess.run(["docker", "cp", f"{DAGS}/.", f"{MASTER}:/var/lib/airflow/dags/"], check=True)
    subprocess.run(["docker", "cp", f"{DAGS}/.", f"{WORKER}:/var/lib/airflow/dags/"], check=True)
    for node in (MASTER, WORKER):
        on(node, "chown", "-R", "airflow:airflow", "/var/lib/airflow/dags")
    until(lambda listed: "crowded" in listed, lambda: on(MASTER, "airflow", "dags", "list", check=False), 180)


@pytest.fixture(autouse=True)
def quiet():
    """Each test begins where nothing is wrong."""
    until(set(), firing, 240)


def test_check_mode_names_the_changes_of_the_first_run(records):
    assert records.changed("converge")
    assert records.changed("converge-check") == records.changed("converge")


def test_every_target_answers():
    down = until([], lambda: [labels for labels, up in series("up") if not up], 60)
    assert down == []
    jobs = {labels["job"] for labels, _up in series("up")}
    assert jobs == {
        "airflow",
        "airflow_host",
        "airflow_statsd",
        "alertmanager",
        "database",
        "node",
        "prometheus",
        "redis",
    }
    hosts = {labels["instance"] for labels, _up in series('up{job="node"}')}
    assert hosts == {MASTER, WORKER, DATABASE, MONITOR}


def test_what_the_metadata_database_tells():
    assert value("airflow_num_queued_tasks") == 0
    assert value("airflow_num_running_tasks") == 0
    assert value("airflow_oldest_queued_task_age_seconds") == 0
    assert value("airflow_import_errors") == 0
    assert value('airflow_pool_slots{pool="narrow"}') == 1
    assert value('airflow_pool_open_slots{pool="narrow"}') == 1
    assert value('airflow_pool_waiting_tasks{pool="narrow"}') == 0
    assert value('airflow_dag_runs{state="success"}') >= 1
    ages = {labels["component"]: age for labels, age in series("airflow_heartbeat_age_seconds")}
    assert set(ages) == {"scheduler", "dag_processor", "triggerer"}
    assert max(ages.values()) < 60
    assert value("airflow_database_connections_limit") == 297
    assert 0 < value("airflow_database_connections") < 297
    assert abs(value("airflow_database_time_seconds") - time.time()) < 30
    (labels, _value) = series("airflow_num_queued_tasks")[0]
    assert set(labels) == {"__name__", "instance", "job"}


def test_what_the_hosts_tell():
    units = {
        (labels["instance"], labels["name"]) for labels, up in series('node_systemd_unit_state{state="active"}') if up
    }
    assert {(MASTER, "airflow-scheduler.service"), (WORKER, "airflow-worker.service")} <= units
    running = {(labels["instance"], labels["component"]) for labels, _value in series("airflow_deployment_info")}
    masters = ("api_server", "dag_processor", "scheduler", "triggerer")
    assert running == {(MASTER, name) for name in masters} | {(WORKER, "worker")}
    assert len({labels["deployment"] for labels, _value in series("airflow_deployment_info")}) == 1
    assert value("airflow_celery_up") == 1
    assert series("airflow_worker_slots")[0][0]["worker"] == "airflow-monitoring-w1"
    assert value("airflow_worker_slots") == 2
    assert value('airflow_queue_workers{queue="default"}') == 1
    assert value('airflow_queue_length{queue="default"}') == 0


def test_what_airflow_tells_by_statsd():
    until(lambda found: found, lambda: value('airflow_statsd_counter_total{name="scheduler_heartbeat"}'), 60)
    until(lambda found: found == 128, lambda: value('airflow_statsd_gauge{name="pool.open_slots.default_pool"}'), 60)


def test_the_exporters_user_reads_a_few_tables_and_no_others(secrets):
    def sql(statement):
        return subprocess.run(
            [
                "docker",
                "exec",
                "-i",
                "-e",
                "PGPASSWORD",
                DATABASE,
                "psql",
                "-h",
                "db1",
                "-U",
                "airflow_monitor",
                "-tAc",
                statement,
            ]
            + ["airflow"],
            env={"PGPASSWORD": secrets["monitor_password"], "PATH": "/usr/bin:/bin:/usr/local/bin"},
            text=True,
            capture_output=True,
            check=False,
        )

    assert sql("SELECT count(*) FROM task_instance").returncode == 0
    for statement in ("SELECT password FROM connection", "SELECT val FROM variable", "DELETE FROM task_instance"):
        assert "permission denied" in sql(statement).stderr


def test_a_task_that_stays_queued_is_told_of(secrets):
    on(WORKER, "systemctl", "stop", "airflow-worker")
    try:
        trigger("queued")
        until(lambda names: "AirflowTaskQueued" in names, firing, 180)
        message = until(lambda messages: messages, lambda: told("services", "AirflowTaskQueued"), 60)[0]
        attachment = message["body"]["attachments"][0]
        assert message["path"] == f"/services/{secrets['slack']}"
        assert attachment["title"].startswith("[FIRING: 1] AirflowTaskQueued")
        assert f"Instance: `{MONITOR}`\nJob: `airflow`" in attachment["text"]
        assert "Alarm: `Task getting queued for more than 15minutes`" in attachment["text"]
        assert value("airflow_num_queued_tasks") == 1
        assert value('airflow_task_instances{state="queued"}') == 1
        assert value("airflow_oldest_queued_task_age_seconds") > 10
    finally:
        on(WORKER, "systemctl", "start", "airflow-worker")
    until(lambda names: "AirflowTaskQueued" not in names, firing, 120)
    until(
        lambda messages: any("[RESOLVED]" in line["body"]["attachments"][0]["title"] for line in messages),
        lambda: told("services", "AirflowTaskQueued"),
        60,
    )


def test_a_scheduler_that_is_gone_is_told_of_and_nothing_else():
    on(MASTER, "systemctl", "mask", "--runtime", "airflow-scheduler")
    try:
        on(MASTER, "systemctl", "kill", "--signal=KILL", "airflow-scheduler")
        on(MASTER, "systemctl", "stop", "airflow-scheduler")
        until({"AirflowSchedulerHeartbeatLost"}, firing, 120)
        until(lambda messages: messages, lambda: told("services", "AirflowSchedulerHeartbeatLost"), 60)
    finally:
        on(MASTER, "systemctl", "unmask", "--runtime", "airflow-scheduler")
        on(MASTER, "systemctl", "start", "airflow-scheduler")
    until(set(), firing, 120)


def test_a_pool_that_is_full_is_told_of_and_nothing_else():
    trigger("crowded")
    until({"AirflowPoolFull"}, firing, 120)
    assert value('airflow_pool_open_slots{pool="narrow"}') == 0
    until(set(), firing, 180)


def test_a_dag_that_cannot_be_read_is_told_of_and_nothing_else():
    on(MASTER, "sh", "-c", "echo 'from airflow.sdk import DAG, nothing_of_that_name' > /var/lib/airflow/dags/broken.py")
    try:
        until({"AirflowImportErrors"}, firing, 180)
    finally:
        on(MASTER, "rm", "/var/lib/airflow/dags/broken.py")
    until(set(), firing, 180)


def test_every_panel_of_the_dashboards_has_data():
    queries = list(dashboards.queries())
    until([], lambda: [query for query in queries if not series(query[2])], 120)


def test_a_test_alert_is_waited_for_until_it_is_delivered(playbook):
    before = len(told("services", "AirflowTestAlert"))
    assert playbook("dataops.airflow.test_alert").rc == 0
    assert len(told("services", "AirflowTestAlert")) > before
    on(MONITOR, "touch", "/run/receiver-refuses")
    try:
        assert playbook("dataops.airflow.test_alert").rc != 0
    finally:
        on(MONITOR, "rm", "/run/receiver-refuses")


def test_the_dead_mans_switch_is_held(secrets):
    lines = until(lambda found: found, lambda: told("deadman"), 90)
    assert lines[0]["path"] == f"/deadman/{secrets['deadman']}"


def silences(state):
    """The silences that hold, or that no longer do."""
    code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9093/api/v2/silences').read().decode())"
    return [found for found in json.loads(on(MONITOR, "python3", "-c", code)) if found["status"]["state"] == state]


def active():
    return silences("active")


def ended(silence):
    """Whether somebody has ended it, and did not leave it to end by itself."""
    times = [datetime.datetime.fromisoformat(silence[name].replace("Z", "+00:00")) for name in ("updatedAt", "endsAt")]
    return abs((times[1] - times[0]).total_seconds()) < 1


def test_a_run_silences_what_it_causes_and_no_longer_than_it_lasts(playbook):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        run = pool.submit(playbook, SITE, "--limit", "airflow-monitoring-w1")
        (silence,) = until(lambda found: found, active, 60)
        assert [(matcher["name"], matcher["value"]) for matcher in silence["matchers"]] == [("deploy", "silenced")]
        assert run.result().rc == 0
    until([], active, 50)
    assert all(map(ended, silences("expired")))


def test_a_host_that_joins_is_watched_at_once(playbook):
    on(MONITOR, "sh", "-c", "rm /etc/airflow-monitoring/targets/airflow_host.yml")
    run = playbook(SITE, "--limit", "airflow-monitoring-w1")
    assert (run.rc, [line for line in run.changed if "targets" not in line]) == (0, [])
    targets = on(MONITOR, "cat", "/etc/airflow-monitoring/targets/airflow_host.yml")
    assert WORKER in targets
    assert MASTER in targets
    again = playbook(SITE, "--limit", f"airflow-monitoring-w1,{MONITOR}")
    assert (again.rc, again.changed) == (0, [])


def test_a_run_that_is_killed_leaves_no_silence(playbook):
    run = playbook(SITE, "--limit", "airflow-monitoring-w1", kill_at=30)
    assert run.rc != 0
    until([], active, 50)
    assert all(map(ended, silences("expired")))


def test_no_secret_is_readable_on_the_monitor(secrets):
    places = "/etc /var /run /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    search = f"grep --recursive --devices=skip --files-with-matches --no-messages --file=- {places}"

    def found(name, *become):
        command = ["docker", "exec", "-i", MONITOR, *become, "sh", "-c", search]
        finished = subprocess.run(command, input=secrets[name], text=True, stdout=subprocess.PIPE, check=False)
        return finished.stdout.splitlines()

    for name in ("slack", "deadman", "monitor_password", "broker_password"):
        assert found(name, "runuser", "-u", "nobody", "--") == []
        # Root finds each, so it is a search that finds.
        assert found(name)
