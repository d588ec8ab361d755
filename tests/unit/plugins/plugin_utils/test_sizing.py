# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is computed from the sizes of hosts fits on them, never falls as they grow, and is nobody else's business."""

from __future__ import annotations

import copy
import random

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release, supported
from ansible_collections.dataops.airflow.plugins.plugin_utils._sizing import (
    Plan,
    advice,
    component_memory,
    demand,
    slots,
    worker_tasks,
)

RELEASES = [release(series + ".0" * (3 - len(series.split(".")))) for series in supported()]
MASTER = ("webserver", "scheduler", "dag_processor", "triggerer")
FACTS = release("3.3.2")
each_release = pytest.mark.parametrize("facts", RELEASES, ids=supported())


def host(cpus=4, memory=8192, components=("worker",), **more):
    found = {"cpus": cpus, "memory": memory, "components": list(components), "reserve": 512, "tasks_per_cpu": 4}
    return dict(found, task_memory=100, **more)


def plan(hosts, facts=None, **changes):
    """The plan of a cluster whose hosts have all been looked at, unless it has others too."""
    cluster = {
        "executor": "CeleryExecutor",
        "options": {},
        "size": {},
        "hostvars": {},
        "masters": sorted(name for name, found in hosts.items() if "scheduler" in found["components"]),
        "workers": sorted(name for name, found in hosts.items() if "worker" in found["components"]),
        "dag_share": 50,
        "autoscale": False,
        "pools": [],
    }
    cluster.update(changes)
    cluster["hostvars"] = {name: cluster["hostvars"].get(name, {}) for name in [*hosts, *cluster["workers"]]}
    return Plan(facts or FACTS, cluster, copy.deepcopy(hosts))


def known(facts, components):
    return [name for name in components if name in facts["components"]]


def random_hosts(seed, facts):
    """Hosts of all sizes: masters, workers, and some that are both."""
    dice = random.Random(seed)
    hosts = {}
    for number in range(dice.randint(1, 9)):
        kind = dice.choice([MASTER, ("worker",), ("worker",), (*MASTER, "worker")])
        hosts["h%d" % number] = host(dice.randint(1, 64), dice.randint(256, 131072), known(facts, kind))
        hosts["h%d" % number].update(
            reserve=dice.choice([0, 512, 2048]), task_memory=dice.randint(1, 4096), tasks_per_cpu=dice.randint(1, 20)
        )
    return hosts


@each_release
@pytest.mark.parametrize("seed", range(60))
def test_what_runs_never_takes_more_than_there_is(facts, seed):
    hosts = random_hosts(seed, facts)
    found = plan(hosts, facts)
    options = {}
    if "api_workers" in found.size:
        section, option = facts["components"]["webserver"]["memory"]["of"].split(".")
        options = {section: {option: found.size["api_workers"]}}
    for name, tasks in found.tasks.items():
        here = hosts[name]
        base = sum(component_memory(facts, part, options) for part in here["components"])
        assert tasks <= here["cpus"] * here["tasks_per_cpu"]
        assert not tasks or base + tasks * here["task_memory"] <= here["memory"] - here["reserve"]
    refused = {trouble.split(":")[0] for trouble in found.troubles}
    assert refused == {name for name, tasks in found.tasks.items() if tasks == 0}


@each_release
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("what", ["cpus", "memory", "tasks_per_cpu"])
def test_a_larger_host_never_gets_less(facts, seed, what):
    hosts = random_hosts(seed, facts)
    before = plan(hosts, facts)
    name = random.Random(seed).choice(sorted(hosts))
    hosts[name][what] *= 2
    after = plan(hosts, facts)
    assert all(after.tasks[name] >= tasks for name, tasks in before.tasks.items())
    for shared in ("parallelism", "max_active_tasks_per_dag", "default_pool"):
        assert after.size.get(shared, 0) >= before.size.get(shared, 0)


@each_release
@pytest.mark.parametrize("seed", range(60))
def test_a_worker_that_joins_changes_nothing_about_the_others(facts, seed):
    hosts = random_hosts(seed, facts)
    before = plan(hosts, facts)
    after = plan(dict(hosts, new=host()), facts)
    assert {name: tasks for name, tasks in after.tasks.items() if name != "new"} == before.tasks
    assert {name: found for name, found in after.size["workers"].items() if name != "new"} == before.size.get(
        "workers", {}
    )
    # What was committed before is what goes on: nothing is written that the new worker's own run would not write.
    committed = before.size
    workers = sorted({"new", *(name for name, found in hosts.items() if "worker" in found["components"])})
    alone = plan({"new": host()}, facts, size=committed, workers=workers, masters=["m1"])
    assert {name: found for name, found in alone.size.items() if name != "workers"} == {
        name: found for name, found in committed.items() if name != "workers"
    }
    assert dict(alone.size["workers"], new=None) == dict(committed.get("workers", {}), new=None)


def test_the_arithmetic_is_told_with_its_numbers():
    found = plan({"m1": host(components=MASTER), "w1": host(), "w2": host(cpus=2, memory=2048)})
    assert found.size == {
        "parallelism": 24,
        "max_active_tasks_per_dag": 12,
        "default_pool": 24,
        "api_workers": 1,
        "workers": {"w1": {"concurrency": 16}, "w2": {"concurrency": 8}},
    }
    base = FACTS["components"]["worker"]["memory"]["fixed"]
    by_memory = (2048 - base - 512) // 100
    text = "w2: 8 tasks at once. CPUs: 2 x 4 = 8. Memory: (2048 MiB - %d worker - 512 reserve) / 100 = %d."
    assert text % (base, by_memory) in found.lines
    assert (
        "parallelism: 24 = 16 + 8, all tasks of the workers: a scheduler that is left alone can fill them"
        in found.lines
    )


def test_memory_bounds_a_small_host():
    assert plan({"w1": host(memory=1500)}).tasks == {"w1": (1500 - 512 - 250) // 100}


def test_a_host_that_is_too_small_is_told_and_gets_no_figure():
    found = plan({"m1": host(components=MASTER), "w1": host(memory=700)})
    assert "workers" not in found.size
    assert found.troubles[0].startswith("w1: its memory is not enough for a single task. CPUs: ")


def test_autoscale():
    found = plan({"w1": host(), "w2": host(cpus=64, memory=1500)}, autoscale=True)
    assert found.size["workers"] == {"w1": {"autoscale": "16,4"}, "w2": {"autoscale": "7,7"}}


def test_what_the_operator_says_is_left_to_him():
    hosts = {"m1": host(components=MASTER), "w1": host(), "w2": host()}
    found = plan(
        hosts,
        options={"core": {"parallelism": 128}, "api": {"workers": 4}},
        hostvars={"w1": {"airflow_service_worker_autoscale": "12,4"}},
        pools=["default_pool"],
        size={"parallelism": 5, "default_pool": 5, "api_workers": 5, "workers": {"w1": {"concurrency": 5}}},
    )
    assert found.size == {"max_active_tasks_per_dag": 14, "workers": {"w2": {"concurrency": 16}}}
    text = "\n".join(found.lines)
    assert "w1: 12 tasks at once. airflow_service_worker_autoscale says so; what fits is 16." in text
    assert "parallelism: 128, airflow_options.core.parallelism says so; computed is 28 = 12 + 16" in text


def test_hosts_that_were_not_looked_at_keep_what_they_have():
    size = {"parallelism": 40, "workers": {"w1": {"concurrency": 20}, "gone": {"concurrency": 9}}}
    found = plan({"w2": host()}, size=size, workers=["w1", "w2"], masters=["m1"])
    assert found.size == {"parallelism": 40, "workers": {"w1": {"concurrency": 20}, "w2": {"concurrency": 16}}}
    assert "were not looked at: m1, w1" in found.lines[-1]


def test_api_servers_grow_with_the_tasks_that_talk_to_them():
    workers = {"w%d" % number: host(cpus=16, memory=65536) for number in range(8)}
    masters = {"m%d" % number: host(cpus=8, components=MASTER) for number in range(3)}
    found = plan({**workers, **masters})
    # 512 tasks, of which two servers have to be able to take all when the third is away.
    assert found.size["api_workers"] == 4
    masters["m0"]["cpus"] = 2
    assert plan({**workers, **masters}).size["api_workers"] == 2


def test_tasks_of_schedulers():
    hosts = {"m1": host(components=MASTER), "m2": host(cpus=2, components=MASTER)}
    found = plan(hosts, executor="LocalExecutor")
    assert (found.size["parallelism"], found.size["default_pool"]) == (8, 16)
    assert "workers" not in found.size


@pytest.mark.parametrize("executor", ["KubernetesExecutor", "CeleryExecutor,KubernetesExecutor"])
def test_what_kubernetes_runs_is_not_computed(executor):
    hosts = {"m1": host(components=MASTER), "w1": host()}
    if executor == "KubernetesExecutor":
        del hosts["w1"]
    found = plan(hosts, executor=executor, size={"parallelism": 16, "default_pool": 16})
    assert set(found.size) <= {"workers"}


@pytest.mark.parametrize(
    "own, celery, wanted",
    [
        ({}, {}, (16, "airflow_service_worker_concurrency")),
        ({"airflow_size": {"workers": {"w1": {"concurrency": 5}}}}, {}, (5, "airflow_size")),
        ({"airflow_size": {"workers": {"w1": {"autoscale": "6,2"}}}}, {}, (6, "airflow_size")),
        (
            {"airflow_size": {"workers": {"w1": {"concurrency": 5}}}, "airflow_service_worker_concurrency": 3},
            {},
            (3, "airflow_service_worker_concurrency"),
        ),
        ({"airflow_size": {"workers": {"w1": {"concurrency": 5}}}}, {"worker_concurrency": 8},
         (8, "airflow_options.celery.worker_concurrency")),
        ({"airflow_service_worker_concurrency": 3}, {"worker_autoscale": "9,1"},
         (9, "airflow_options.celery.worker_autoscale")),
    ],
)  # fmt: skip
def test_who_says_how_many_tasks_a_worker_runs(own, celery, wanted):
    assert worker_tasks(own, "w1", {"celery": celery}, 16) == wanted


def test_demand_is_that_of_the_components_and_tasks_of_a_host():
    found = demand(FACTS, [*MASTER, "worker"], "CeleryExecutor", {"api": {"workers": 2}}, "100", {}, "w1")
    assert found["tasks"] == 16 and found["task_memory"] == 100
    assert found["components"]["webserver"] == 2 * FACTS["components"]["webserver"]["memory"]["each"]
    assert set(found["components"]) == {*MASTER, "worker"}
    alone = demand(FACTS, MASTER, "KubernetesExecutor", {}, 100, {}, "m1")
    assert (alone["tasks"], alone["variable"]) == (0, "airflow_components")
    local = demand(FACTS, MASTER, "LocalExecutor", {"core": {"parallelism": "8"}}, 100, {}, "m1")
    assert (local["tasks"], local["variable"]) == (8, "airflow_options.core.parallelism")


def test_advice_about_tasks_that_only_wait():
    hostvars = {"w1": {}, "w2": {"airflow_service_worker_concurrency": 4}}
    options = {"core": {"parallelism": 128}}
    assert slots(FACTS, "CeleryExecutor", {}, hostvars, ["w1", "w2"]) == 20
    (text,) = advice(FACTS, "CeleryExecutor", options, hostvars, ["w1", "w2"])
    assert "128 tasks, and the 2 workers run 20 at once" in text
    assert advice(FACTS, "CeleryExecutor", {"core": {"parallelism": 20}}, hostvars, ["w1", "w2"]) == []
    assert advice(FACTS, "CeleryExecutor", {}, hostvars, ["w1", "w2"]) == []
    assert advice(FACTS, "CeleryExecutor,KubernetesExecutor", options, hostvars, ["w1", "w2"]) == []
