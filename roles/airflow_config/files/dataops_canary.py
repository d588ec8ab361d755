# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One DAG a worker, whose task goes through a queue that only this worker reads: it proves the whole path to it.

The file is the same on every node and does not change when workers come and go. The dag processor reads their names
from one Variable; a worker knows its own from the DAG it is asked to run, so it needs no Variable and no database.
It runs on Airflow 1.10 and all that came after it, and so on Python 3.6.
"""

import datetime
import importlib.util
import logging
import socket
import sys

try:
    from airflow.sdk import DAG, BaseOperator
except ImportError:
    from airflow.models import DAG, BaseOperator

NAME = "dataops_canary"
VARIABLE = "dataops_canary_workers"


class Canary(BaseOperator):
    """Writes one line to the task's log: whoever reads it back knows which run wrote it, and where."""

    def execute(self, context):
        run = context["dag_run"]
        conf = run.conf or {}
        # The line must reach the log whatever [logging] logging_level says.
        self.log.log(
            max(logging.INFO, self.log.getEffectiveLevel()),
            "%s: run %s of worker %s, deployment %s, ran on %s",
            NAME,
            run.run_id,
            conf.get("worker"),
            conf.get("deployment"),
            socket.gethostname(),
        )
        forget(context)


def forget(context):
    """Airflow 1.10 can be told to delete a run, but not what its tasks have left: it all goes with the next run."""
    if importlib.util.find_spec("airflow.www_rbac") is None:
        return
    from airflow.models import DagRun, TaskInstance
    from airflow.utils.db import create_session

    run = context["dag_run"]
    with create_session() as session:
        for model in (DagRun, TaskInstance):
            session.query(model).filter(
                model.dag_id == run.dag_id,
                model.execution_date < run.execution_date,
                model.state.in_(["success", "failed"]),
            ).delete(synchronize_session=False)


def asked_for():
    """The DAG this process was started to run, where Airflow tells."""
    try:
        from airflow.sdk import get_parsing_context
    except ImportError:
        try:
            from airflow.utils.dag_parsing_context import get_parsing_context
        except ImportError:
            # airflow run DAG_ID ...
            return sys.argv[2] if sys.argv[1:2] == ["run"] else None
    return get_parsing_context().dag_id


def declared():
    """The names of the workers, from the Variable."""
    try:
        from airflow.sdk import Variable
    except ImportError:
        from airflow.models import Variable

        return Variable.get(VARIABLE, default_var=[], deserialize_json=True)
    return Variable.get(VARIABLE, default=[], deserialize_json=True)


def workers():
    """The workers whose DAGs this process needs."""
    dag_id = asked_for()
    if not dag_id:
        return declared()
    return [dag_id[len(NAME) + 2 :]] if dag_id.startswith(NAME + "__") else []


def canary(dag_id, **where):
    """A DAG that starts only when asked to, and never stays behind."""
    with DAG(
        dag_id,
        start_date=datetime.datetime(2020, 1, 1),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=8,
        dagrun_timeout=datetime.timedelta(minutes=15),
        tags=["dataops"],
        **{("schedule_interval" if OLD else "schedule"): None},
    ) as dag:
        Canary(
            task_id="canary",
            owner="dataops",
            retries=0,
            depends_on_past=False,
            execution_timeout=datetime.timedelta(minutes=5),
            # Before the users' tasks where a pool or the executor is full.
            priority_weight=1000000,
            **where,
        )
    return dag


def old():
    """Before 2.4 the argument has another name."""
    import inspect

    return "schedule" not in inspect.signature(DAG.__init__).parameters


OLD = old()

# Its task may run anywhere. It is there so that Airflow has a token for parsing this file before any worker is known.
globals()[NAME] = canary(NAME)

for worker in workers():
    globals()[NAME + "__" + worker] = canary(NAME + "__" + worker, queue=NAME + "." + worker)
