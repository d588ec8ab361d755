# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Celery worker, or one who gives it work. Run by a release's interpreter.

Usage: worker.py BROKER NAME QUEUES, or worker.py BROKER TASKS QUEUE
"""

import sys
import time

from celery import Celery

BROKER, WHAT, QUEUES = sys.argv[1:]
app = Celery("worker", broker=BROKER)
app.conf.worker_prefetch_multiplier = 1


@app.task(name="wait")
def wait():
    time.sleep(600)


if WHAT.isdigit():
    for _task in range(int(WHAT)):
        wait.apply_async(queue=QUEUES)
else:
    app.worker_main(["worker", "--hostname", WHAT, "--queues", QUEUES, "--concurrency", "2", "--loglevel", "WARNING"])
