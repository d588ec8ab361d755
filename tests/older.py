# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenarios with Airflow before 3 ask of tasks: of those of other users, and of the connections they take."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import pickle
import subprocess
import time
import urllib.request

from ansible_collections.dataops.airflow.plugins.module_utils._releases import release

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT / "molecule/shared"
OTHERS = SHARED / "impersonation"
DAGS = "/users/airflow/airflow/dags"
COMMANDS = "/usr/local/lib/airflow-impersonation"
SUDOERS = "/etc/sudoers.d/airflow-impersonation"
DATABASE_PORT = 3306


def inside(node, command):
    """The result of a command on a node, whatever it is."""
    return subprocess.run(
        ["docker", "exec", node, "sh", "-c", command],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for(what, ask, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(1)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Tasks:
    """The DAGs of shared/dags on a cluster, which `query` asks for what became of them."""

    def __init__(self, version, master, worker, query):
        self.release, self.master, self.worker, self.query = release(version), master, worker, query
        self.trigger = "trigger_dag" if version.startswith("1.") else "dags trigger"

    def deliver(self, reader):
        """Brings them to the hosts, and has what reads them look at once."""
        for node in (self.master, self.worker):
            for path in sorted((SHARED / "dags").glob("*.py")):
                subprocess.run(["docker", "cp", str(path), f"{node}:{DAGS}/{path.name}"], check=True)
                assert inside(node, f"chown airflow:airflow {DAGS}/{path.name}").returncode == 0
        assert inside(self.master, f"systemctl restart {reader}").returncode == 0
        wait_for("the DAGs", lambda: self.query("SELECT count(*) FROM dag WHERE dag_id = 'busy'") == ["1"])

    def start(self, dag):
        run = f"{dag}_{time.time_ns()}"
        done = inside(self.master, f"airflow {self.trigger} {dag} -r {run}")
        assert done.returncode == 0, done.stdout
        return run

    def states(self, dag, run):
        """The states of the tasks of a run, each as often as there are tasks in it."""
        key = (
            "run_id = '%s'"
            if "dags" in self.trigger
            else ("execution_date = (SELECT execution_date FROM dag_run WHERE run_id = '%s')")
        )
        return self.query(f"SELECT state FROM task_instance WHERE dag_id = '{dag}' AND {key % run}")

    def end(self, dag, run, seconds=300):
        """The one state that all tasks of a run have come to."""

        def over():
            states = set(self.states(dag, run))
            return states if states and states <= {"success", "failed", "upstream_failed"} else None

        (state,) = wait_for(f"the end of {dag}", over, seconds)
        return state

    def result(self, dag):
        """What the last task of a DAG has returned: 1.10 keeps it as a pickle."""
        (value,) = self.query(f"SELECT hex(value) FROM xcom WHERE dag_id = '{dag}' ORDER BY timestamp DESC LIMIT 1")
        kept = bytes.fromhex(value)
        return pickle.loads(kept) if kept[:1] == pickle.PROTO else json.loads(kept)


def other_users(tasks, playbook, site):
    """Tasks run as another user while it is asked for, can be ended, and leave that user no other rights."""
    worker = tasks.worker
    assert playbook(site, inventories=[OTHERS]).rc == 0
    again = playbook(site, inventories=[OTHERS])
    assert (again.rc, again.changed) == (0, [])
    assert inside(worker, f"visudo -cf {SUDOERS}").returncode == 0

    assert tasks.end("other_user", tasks.start("other_user")) == "success"
    assert tasks.result("other_user") == {"user": "reports", "groups": True, "secrets": False, "root": False}
    assert inside(worker, "find /tmp -type f -user reports").stdout == "", "a configuration was left"

    run = tasks.start("other_user_waits")
    wait_for("the task", lambda: inside(worker, "pgrep -u reports -f 'sleep 987'").returncode == 0)
    tasks.query("UPDATE task_instance SET state = 'failed' WHERE dag_id = 'other_user_waits' AND state = 'running'")
    wait_for("its end", lambda: inside(worker, "pgrep -u reports").returncode != 0, 120)
    assert tasks.states("other_user_waits", run) == ["failed"]

    # What Airflow may have root do, and what nobody may.
    as_airflow = "cd / && runuser -u airflow -- sudo -n"
    inside(worker, "install -o airflow -m 600 /dev/null /tmp/own && install -m 600 /dev/null /tmp/of-root")
    inside(worker, "runuser -u airflow -- ln -s /tmp/of-root /tmp/link; runuser -u airflow -- ln /tmp/own /tmp/second")
    for refused in (
        "chown reports /tmp/own",
        f"{COMMANDS}/as-root chown reports /tmp/of-root",
        f"{COMMANDS}/as-root chown reports /tmp/link",
        f"{COMMANDS}/as-root chown reports /tmp/own",
        f"{COMMANDS}/as-root chown root /tmp/own",
        f"{COMMANDS}/as-root rm /tmp/of-root",
        "-u root id",
    ):
        assert inside(worker, f"{as_airflow} {refused}").returncode != 0, refused
    inside(worker, f"{as_airflow} {COMMANDS}/as-root kill -9 1 $(pgrep systemd-journal)")
    assert inside(worker, "pgrep systemd-journal && stat -c %U /tmp/of-root").stdout.endswith("root\n")
    inside(worker, "rm /tmp/second")
    assert inside(worker, f"{as_airflow} {COMMANDS}/as-root chown reports /tmp/own").returncode == 0
    assert inside(worker, "stat -c '%U %a' /tmp/own").stdout == "reports 600\n"
    assert inside(worker, f"{as_airflow} {COMMANDS}/as-root rm /tmp/own").returncode == 0

    assert playbook(site).rc == 0
    assert inside(worker, f"ls {SUDOERS}").returncode != 0 and inside(worker, f"ls {COMMANDS}").returncode != 0
    assert inside(worker, f"{as_airflow} -u reports true").returncode != 0
    inside(worker, "rm /tmp/of-root /tmp/link")


@contextlib.contextmanager
def _watched(nodes, found):
    """Counts the connections to the database that the units of the nodes have open at once, at most."""
    program = (SHARED / "sockets.py").read_text(encoding="utf-8")
    watchers = [
        subprocess.Popen(
            ["docker", "exec", "-i", node, "python3", "-c", program, str(DATABASE_PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node in nodes
    ]
    try:
        yield
    finally:
        for node, watcher in zip(nodes, watchers):
            found[node] = json.loads(watcher.communicate()[0] or "{}")


def connections(tasks, nodes, address, times):
    """No component has more connections open than the table says, the worker being full and the web server asked a lot.

    `times` is how many processes the options give, by the option that the table names.
    """
    found = {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path):
        with opener.open(f"http://{address}:8080{path}", timeout=60) as answer:
            return answer.status

    with _watched(nodes, found):
        run = tasks.start("busy")
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            assert set(clients.map(ask, ["/health", "/login/"] * 100)) == {200}
        assert tasks.end("busy", run, 600) == "success"
    allowed = {}
    for component in tasks.release["components"].values():
        need = component["connections"]
        each = need.get("each", 0) + need.get("each_task", 0)
        # A component without processes of its own has what is fixed.
        allowed[component["unit"]] = need["fixed"] + (each * times[need["of"]] if each else 0)
    print(json.dumps({"found": found, "allowed": allowed}))
    seen = {unit for units in found.values() for unit in units}
    assert seen == set(allowed)
    for node, units in found.items():
        assert {unit: count for unit, count in units.items() if count > allowed[unit]} == {}, node
