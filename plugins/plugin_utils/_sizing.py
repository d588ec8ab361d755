# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""How many tasks fit on hosts, and what follows for the options of a cluster. Nothing here asks a host or a file.

A worker's figure comes from its own host alone, so a worker that joins changes nobody else's. What all hosts share,
such as parallelism, is a sum over them; it changes only when the operator commits another one.
"""

from __future__ import annotations

from ._executors import executors
from ._options import name_in, value_of


class TooSmall(ValueError):
    """A host has no memory for a single task."""


def processes(value, usual):
    """How many a number of processes is, or a range of them, most first; the usual number where there is none."""
    text = str(usual if value is None else value).partition(",")[0].strip()
    return int(text) if text.isdigit() else usual


def given_tasks(host, options):
    """The tasks that a worker may run at once where the operator says it himself: (value, variable), else None.

    A range wins over a number, wherever each stands: so Celery reads them.
    """
    celery = options.get("celery", {})
    for variable, value in (
        ("airflow_service_worker_autoscale", host.get("airflow_service_worker_autoscale")),
        ("airflow_options.celery.worker_autoscale", celery.get("worker_autoscale")),
        ("airflow_service_worker_concurrency", host.get("airflow_service_worker_concurrency")),
        ("airflow_options.celery.worker_concurrency", celery.get("worker_concurrency")),
    ):
        if value is not None:
            return value, variable
    return None


def worker_tasks(host, name, options, usual):
    """The tasks that the worker on a host runs at once: (number, variable that says so)."""
    given = given_tasks(host, options)
    if given:
        return processes(given[0], usual), given[1]
    size = ((host.get("airflow_size") or {}).get("workers") or {}).get(name) or {}
    value = size.get("autoscale") or size.get("concurrency")
    return (processes(value, usual), "airflow_size") if value else (usual, "airflow_service_worker_concurrency")


def component_memory(release, name, options):
    """What a component takes without any task, in MiB, as it was measured."""
    need = release["components"][name]["memory"]
    if "of" not in need:
        return need["fixed"]
    return need["fixed"] + need["each"] * processes(value_of(release, options, *need["of"].split(".")), need["usual"])


def task_component(release, components, executor):
    """The component of a host whose tasks are processes there, None where no task runs."""
    known = release["components"]
    found = [name for name in components if known.get(name, {}).get("runs_tasks_with") in executors(executor)]
    return found[0] if found else None


def demand(release, components, executor, options, task_memory, host, name):
    """What a host needs memory for, as airflow_preflight compares it with what the host has."""
    known = release["components"]
    tasks, variable = 0, "airflow_components"
    runs_tasks = task_component(release, components, executor)
    if runs_tasks and known[runs_tasks]["health"] == "worker":
        tasks, variable = worker_tasks(host, name, options, known[runs_tasks]["connections"]["usual"])
    elif runs_tasks:
        variable = "airflow_options.core.parallelism"
        tasks = processes(value_of(release, options, "core", "parallelism"), release["parallelism"])
    parts = {part: component_memory(release, part, options) for part in components if part in known}
    return {"components": parts, "tasks": tasks, "task_memory": int(task_memory), "variable": variable}


def slots(release, executor, options, hostvars, workers):
    """The tasks that all workers of a cluster run at once; None where its tasks run elsewhere too."""
    if set(executors(executor)) != {"CeleryExecutor"}:
        return None
    usual = release["components"]["worker"]["connections"]["usual"]
    return sum(worker_tasks(hostvars[name], name, options, usual)[0] for name in workers)


def advice(release, executor, options, hostvars, workers):
    """What works, and not as it looks."""
    declared = value_of(release, options, "core", "parallelism")
    running = slots(release, executor, options, hostvars, workers)
    if declared is None or not running or processes(declared, 0) <= running:
        return []
    return [
        "parallelism: each scheduler may queue %s tasks, and the %d workers run %d at once: more of them only wait in "
        "the queue. playbooks/size.yml computes what fits" % (declared, len(workers), running)
    ]


def wrong_numbers(cluster, hosts):
    """What cannot be computed with, by the variable that has it."""
    for name, host in sorted(hosts.items()):
        for variable, key, least in (
            ("airflow_size_tasks_per_cpu", "tasks_per_cpu", 1),
            ("airflow_size_reserve", "reserve", 0),
            ("airflow_task_memory", "task_memory", 1),
        ):
            if host[key] < least:
                yield "%s: %s: %d is not %d or more" % (name, variable, host[key], least)
    if not 1 <= cluster["dag_share"] <= 100:
        yield "airflow_size_dag_share: %d is not 1 to 100" % cluster["dag_share"]


def worker_figure(release, host, options):
    """The tasks that fit on one host, and how that comes about. Nothing but the host's own figures goes into it."""
    parts = {name: component_memory(release, name, options) for name in host["components"]}
    by_cpus = host["cpus"] * host["tasks_per_cpu"]
    by_memory = max(0, host["memory"] - host["reserve"] - sum(parts.values())) // host["task_memory"]
    text = "CPUs: %d x %d = %d. Memory: (%d MiB - %s) / %d = %d." % (
        host["cpus"],
        host["tasks_per_cpu"],
        by_cpus,
        host["memory"],
        " - ".join("%d %s" % (parts[name], name) for name in sorted(parts)) + " - %d reserve" % host["reserve"],
        host["task_memory"],
        by_memory,
    )
    if by_memory < 1:
        raise TooSmall(text)
    return min(by_cpus, by_memory), text


class Plan:
    """What to set (`size`, as the variable `airflow_size` has it), why (`lines`), and what cannot work (`troubles`).

    `hosts` has what is known of those that were looked at, by name: components, cpus, memory, reserve, task_memory,
    tasks_per_cpu. `cluster` has what the inventory says: executor, options (of the operator), size (so far), hostvars,
    masters, workers, dag_share, autoscale, pools (names of those that are declared).
    """

    def __init__(self, release, cluster, hosts):
        self.release, self.cluster, self.hosts = release, cluster, hosts
        self.options = cluster["options"]
        self.size = {name: value for name, value in cluster["size"].items() if name != "workers"}
        self.lines, self.troubles = [], []
        if any(task_component(release, host["components"], cluster["executor"]) for host in hosts.values()):
            self.lines.append(
                "tasks at once: the less of CPUs x airflow_size_tasks_per_cpu, and (memory - components - "
                "airflow_size_reserve) / airflow_task_memory"
            )
        # Tasks that each host runs at once.
        self.tasks = {}
        workers = self._workers()
        away = sorted({*cluster["masters"], *cluster["workers"]} - set(hosts))
        if "KubernetesExecutor" in executors(cluster["executor"]):
            self.size = {}
            self.lines.append("what all hosts share: yours to set, as Kubernetes decides how many tasks it runs")
        elif away:
            self.lines.append("what all hosts share: as it is, because some were not looked at: %s" % ", ".join(away))
        else:
            self._shared()
        if workers:
            self.size["workers"] = workers

    def _workers(self):
        """The figures of workers; of those that were not looked at, what they had."""
        cluster, figures = self.cluster, {}
        for name, figure in sorted((cluster["size"].get("workers") or {}).items()):
            if name in cluster["workers"] and name not in self.hosts:
                figures[name] = figure
        for name, host in sorted(self.hosts.items()):
            runs_tasks = task_component(self.release, host["components"], cluster["executor"])
            if not runs_tasks:
                continue
            given = None
            if self.release["components"][runs_tasks]["health"] == "worker":
                given = given_tasks(cluster["hostvars"][name], self.options)
            try:
                figure, text = worker_figure(self.release, host, self.options)
            except TooSmall as error:
                figure, text = 0, str(error)
                self.troubles.append(
                    "%s: its memory is not enough for a single task. %s Give it more, lower airflow_task_memory or "
                    "airflow_size_reserve, or move components to other hosts" % (name, text)
                )
            self.tasks[name] = processes(given[0], figure) if given else figure
            if given:
                text = "%s says so; what fits is %d. %s" % (given[1], figure, text)
            elif figure and self.release["components"][runs_tasks]["health"] == "worker":
                least = min(figure, host["cpus"])
                figures[name] = (
                    {"autoscale": "%d,%d" % (figure, least)} if cluster["autoscale"] else {"concurrency": figure}
                )
            self.lines.append("%s: %d tasks at once. %s" % (name, self.tasks[name], text))
        return dict(sorted(figures.items()))

    def _shared(self):
        """What all hosts share, made of the workers' figures."""
        schedulers = sum("scheduler" in host["components"] for host in self.hosts.values())
        if "LocalExecutor" in executors(self.cluster["executor"]):
            each = min(self.tasks.values(), default=0)
            total = each * len(self.tasks)
            why = "what the smallest host with a scheduler can run, as the option is the same on all"
        else:
            each = total = sum(self.tasks.values())
            why = "%s, all tasks of the workers: a scheduler that is left alone can fill them" % " + ".join(
                str(tasks) for _name, tasks in sorted(self.tasks.items())
            )
        if not total:
            return
        self._set("parallelism", each, "core.parallelism", why)
        share = self.cluster["dag_share"]
        why = "%d %% of %d (airflow_size_dag_share): what a DAG may take of all tasks" % (share, total)
        self._set("max_active_tasks_per_dag", max(1, -(-total * share // 100)), "core.max_active_tasks_per_dag", why)
        self.size.pop("default_pool", None)
        if "default_pool" in self.cluster["pools"]:
            self.lines.append("default_pool: airflow_objects_pools has it")
        else:
            self.size["default_pool"] = total
            why = "a slot for each task"
            if schedulers > 1:
                why += ": parallelism bounds each scheduler, the pool all %d together" % schedulers
            self.lines.append("default_pool: %d = %s" % (total, why))
        self._api_workers(total)

    def _set(self, name, value, option, why):
        """An option, unless the operator sets it himself."""
        given = value_of(self.release, self.options, *option.split("."))
        # As this release calls it.
        option = ".".join(name_in(self.release, tuple(option.split("."))))
        self.size.pop(name, None)
        if given is None:
            self.size[name] = value
            self.lines.append("%s: %d = %s" % (name, value, why))
        else:
            line = "%s: %s, airflow_options.%s says so; computed is %d = %s"
            self.lines.append(line % (name, given, option, value, why))

    def _api_workers(self, total):
        """Processes of each API server, where tasks talk to it."""
        api = self.release["components"]["webserver"]
        servers = [host for host in self.hosts.values() if "webserver" in host["components"]]
        self.size.pop("api_workers", None)
        if "tasks_each" not in api or not servers:
            return
        fits = []
        for name, host in self.hosts.items():
            if "webserver" in host["components"]:
                taken = sum(component_memory(self.release, part, self.options) for part in host["components"])
                taken += host["reserve"] + self.tasks.get(name, 0) * host["task_memory"]
                more = max(0, host["memory"] - taken) // api["memory"]["each"]
                fits.append(min(host["cpus"], api["memory"]["usual"] + more))
        serving = max(1, len(servers) - 1)
        wanted = max(1, -(-total // (api["tasks_each"] * serving)))
        why = "%d tasks / %d for each process / %d API servers" % (total, api["tasks_each"], serving)
        if len(servers) > 1:
            why += " (one may be away)"
        if min(fits) < wanted:
            why += "; they ask for %d, and the smallest host has room for %d" % (wanted, max(1, min(fits)))
        self._set("api_workers", max(1, min(wanted, *fits)), api["memory"]["of"], why)
