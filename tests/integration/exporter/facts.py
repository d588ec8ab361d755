# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts facts into the metadata database, into the tables as the release has them. Run by a release's interpreter.

The facts are read from standard input. What is printed is the release's own word on pools and states.
"""

import datetime
import importlib
import json
import math
import sys

from airflow import settings
from airflow.models import Pool
from airflow.models.base import Base
from airflow.utils import timezone
from airflow.utils.state import State

try:
    from airflow.models import import_all_models

    import_all_models()
except ImportError:
    # Before 2.0, a table is known once its module is.
    importlib.import_module("airflow.jobs")

DAG = "exported"
FACTS = json.load(sys.stdin)
NOW = timezone.utcnow()
# The least by which a run can be told from the one before.
STEP = datetime.timedelta(seconds=1)


def ago(seconds):
    return None if seconds is None else NOW - datetime.timedelta(seconds=seconds)


def insert(session, name, **values):
    """A row, of the values that the release has a column for."""
    table = Base.metadata.tables[name]
    session.execute(table.insert().values({key: value for key, value in values.items() if key in table.c}))


def main():
    session = settings.Session()
    for name in ("task_instance", "dag_run", "slot_pool", "job", "import_error"):
        session.execute(Base.metadata.tables[name].delete())
    for name, slots in FACTS["pools"].items():
        insert(session, "slot_pool", pool=name, slots=slots, include_deferred=name in FACTS["include_deferred"])
    number = 0
    for state, runs in FACTS["runs"].items():
        for _run in range(runs):
            number += 1
            when = {"execution_date": NOW + number * STEP, "logical_date": NOW + number * STEP, "run_after": NOW}
            insert(session, "dag_run", dag_id=DAG, run_id=str(number), run_type="manual", state=state, **when)
    for index, task in enumerate(FACTS["tasks"]):
        values = {"dag_id": DAG, "task_id": "task_%d" % index, "run_id": "1", "execution_date": NOW + STEP}
        values.update(task, queued_dttm=ago(task.pop("queued_ago", None)))
        insert(session, "task_instance", **values)
    for job in FACTS["jobs"]:
        insert(session, "job", latest_heartbeat=ago(job.pop("heartbeat_ago")), **job)
    for index in range(FACTS["import_errors"]):
        insert(session, "import_error", filename="/dags/%d.py" % index, stacktrace="SyntaxError", timestamp=NOW)
    session.commit()
    slots = {pool.pool: pool.open_slots(session=session) for pool in session.query(Pool)}
    unfinished = State.unfinished() if callable(State.unfinished) else State.unfinished
    told = {
        "at": (NOW - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds(),
        # A pool without limit has endless ones.
        "open_slots": {name: -1 if math.isinf(number) else int(number) for name, number in slots.items()},
        "unfinished": sorted(str(getattr(state, "value", state)) for state in unfinished if state),
    }
    print(json.dumps(told))


main()
