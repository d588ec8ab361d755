# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows: each measures something beside its baseline, in one go, on hosts that it makes if they are not there.

What is measured and its baseline take turns, for so many rounds, so that both see the same machine. Of each, the best
counts.
"""

from __future__ import annotations

import importlib.util
import json
from typing import NamedTuple

import exporter as questions
import hosts
import yaml
from hosts import MASTERS, PLACE, ROOT, SERVERS, workers


class Line(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    baseline: str
    value: float
    budget: float

    @property
    def met(self):
        return self.value <= self.budget


def compare(what, unit, measured, baseline, budget):
    """The line of a measurement and its baseline, both in `unit`."""
    shown = ["%.*f %s" % (0 if number >= 10 else 2, number, unit) for number in (measured, baseline)]
    return Line(what, *shown, measured / baseline, budget)


def best(runs):
    """The shortest of runs, in seconds on the clock."""
    return min(run.wall for run in runs)


def version():
    """The Airflow version that the collection deploys unless told otherwise."""
    return yaml.safe_load((ROOT / "roles/airflow/defaults/main.yml").read_text(encoding="utf-8"))["airflow_version"]


def converge(rounds):
    """3 masters and 2 workers from bare hosts, without the canary, against baseline.sh."""
    spec = importlib.util.spec_from_file_location("releases", ROOT / "plugins/module_utils/_releases.py")
    releases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(releases)
    extras = releases.release(version())["extras"]
    requirement = "apache-airflow[%s]==%s" % (
        ",".join(extras["always"] + extras["postgresql"] + extras["redis"]),
        version(),
    )
    baseline, measured = [], []
    for _round in range(rounds):
        hosts.bare(SERVERS + MASTERS + workers(2))
        script = str(ROOT / "tests/benchmarks/baseline.sh")
        baseline.append(hosts.run(script, str(hosts.SSH_CONFIG), version(), requirement, *MASTERS, "--", *workers(2)))
        hosts.bare(SERVERS + MASTERS + workers(2))
        measured.append(hosts.play("site.yml", hosts.inventory(MASTERS, workers(2)), "--skip-tags", "canary"))
    hosts.sweep()
    return [
        compare(
            "first converge of 3 masters and 2 workers, against a bare shell script",
            "s",
            best(measured),
            best(baseline),
            1.3,
        )
    ]


def noop(rounds):
    """A run that changes nothing against a play of 30 `stat` tasks on the same hosts."""
    place = hosts.cluster(MASTERS, workers(2))
    stat = PLACE / "stat.yml"
    tasks = [{"name": "Look (%d)" % number, "ansible.builtin.stat": {"path": "/etc/hostname"}} for number in range(30)]
    stat.write_text(json.dumps([{"name": "Stat", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
    measured, baseline = [], []
    for _round in range(rounds):
        before = hosts.sessions()
        measured.append(hosts.play("site.yml", place))
        counts = hosts.sessions() - before
        baseline.append(hosts.play(stat, place))
    most = max(counts, key=counts.get)
    shown = "%d (%s)" % (counts[most], most)
    return [
        Line("module runs on a host in a run with nothing to do", shown, "-", counts[most], 30),
        compare("a run with nothing to do, against 30 stat tasks", "s", best(measured), best(baseline), 1.5),
    ]


def database(rounds):
    """Whether the database is at the release's revision: the helper against `airflow db check-migrations`."""
    hosts.cluster(MASTERS, workers(2))
    helper, airflow = json.loads(hosts.probe("m1", "database_probe.py", rounds))
    return [
        Line("is the database at head?", "%.2f s" % helper, "-", helper, 0.2),
        compare("is the database at head?, against airflow db check-migrations", "s", helper, airflow, 0.08),
    ]


def exporter(rounds):
    """What the exporter asks of a PostgreSQL with a million task instances, against one with a thousand."""
    hosts.cluster(MASTERS, workers(2))
    queries = questions.queries(hosts.inventory(MASTERS, workers(2)))
    sizes = (1000, 1000000)
    databases = {size: questions.Database(size) for size in sizes}
    taken = {size: [] for size in sizes}
    for _round in range(rounds):
        for size, runs in taken.items():
            runs.append(databases[size].seconds(queries))
    small, large = (min(taken[size]) * 1000 for size in sizes)
    share = large / 1000 / questions.INTERVAL * 100
    return [
        Line("the exporter's questions, as a share of the time between them", "%.2f %%" % share, "-", share, 2),
        compare("the same with 1,000,000 task instances, against 1,000", "ms", large, small, 20),
    ]


def objects(rounds):
    """200 connections, variables and pools against one of each, all of them new."""
    place = hosts.cluster(MASTERS, workers(2))
    declared = PLACE / "objects.json"

    def declare(number, state):
        names = ["bench_%d" % index for index in range(number)]
        url = "postgres://user:secret@db.example.invalid/%s"
        content = {
            "airflow_objects_connections": [{"conn_id": name, "uri": url % name} for name in names],
            "airflow_objects_variables": [{"key": name, "value": name} for name in names],
            "airflow_objects_pools": [{"name": name, "slots": 4} for name in names],
        }
        if state == "absent":
            content = {
                name: [{list(entry)[0]: list(entry.values())[0], "state": state} for entry in entries]
                for name, entries in content.items()
            }
        declared.write_text(json.dumps(content))
        options = ["--tags", "objects", "--limit", "m1", "--extra-vars", "@%s" % declared]
        return hosts.tasks("site.yml", place, *options)

    taken = {1: [], 200: []}
    for _round in range(rounds):
        for number, runs in taken.items():
            declare(200, "absent")
            runs.append(declare(number, "present"))
    lines = []
    for kind in ("connections", "variables", "pools"):
        task = "dataops.airflow.airflow_objects : Declare the " + kind
        lines.append(
            compare("200 %s, against one" % kind, "s", *(min(run[task] for run in taken[n]) for n in (200, 1)), 2)
        )
    return lines


def worker(rounds):
    """A ninth node, with and without --limit, against the same host in an inventory that has no other worker."""
    number = 5
    hosts.cluster(MASTERS, workers(number))
    limited, alone, whole, nothing = [], [], [], []
    for _round in range(rounds):
        nothing.append(hosts.play("site.yml", hosts.inventory(MASTERS, workers(5))))
        # A new name each time, as the canary remembers the old ones.
        for runs, others, limit in ((limited, workers(5), True), (alone, [], True), (whole, workers(5), False)):
            number += 1
            new = "w%d" % number
            hosts.create([new])
            place = hosts.inventory(MASTERS, others + [new], "cluster" if others else "alone")
            runs.append(hosts.play("site.yml", place, *(["--limit", new] if limit else [])))
            hosts.put_aside([new])
    hosts.sweep()
    limited, alone, whole, nothing = map(best, (limited, alone, whole, nothing))
    return [
        compare("a worker added to 8 nodes with --limit, against that host alone", "s", limited, alone, 1.2),
        compare(
            "the same without --limit, against 1.2 x that host alone and the others' run with nothing to do",
            "s", whole, 1.2 * alone + nothing, 1.0,
        ),
    ]  # fmt: skip


def growth(rounds):
    """Processor time of the controller, a host, in a run with nothing to do: 5, 10 and 20 hosts.

    Workers beyond the second are further names of the same two containers, in check mode: the controller cannot tell.
    """
    hosts.cluster(MASTERS, workers(2))
    cost = {}
    for size in (5, 10, 20):
        place = hosts.inventory(MASTERS, workers(2), "growth", others=workers(size - 5, first=3))
        cost[size] = min(hosts.play("site.yml", place, "--check").cpu for _round in range(rounds)) / size
    return [
        compare("controller CPU a host with %d hosts, against 5" % size, "s", cost[size], cost[5], 1.2)
        for size in (10, 20)
    ]


# Least first: what each leaves behind serves the next.
ROWS = {row.__name__: row for row in (converge, noop, database, exporter, objects, worker, growth)}
