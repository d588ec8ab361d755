# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before Airflow 3 there is one folder of DAGs, that of the users, who replace it as they like.

So the canary's file stays where it is, and Airflow finds it there: this adds it to what the scheduler lists. Everybody
else takes it from the path that the scheduler has put down.
"""

import os
import sys

from airflow.plugins_manager import AirflowPlugin

CANARY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "dataops_canary.py")
# Where the list is made, and where the one who needs it may have imported it to: 1.10, and 2.
MODULES = ["airflow.utils.dag_processing", "airflow.utils.file", "airflow.dag_processing.manager"]


def with_canary(original):
    def list_py_file_paths(directory, *arguments, **options):
        found = original(directory, *arguments, **options)
        # Only the scheduler lists a directory without saying what to do about the examples.
        if not arguments and not options and directory and os.path.isdir(directory):
            found.append(CANARY)
        return found

    return list_py_file_paths


class DataopsCanaryPlugin(AirflowPlugin):
    name = "dataops_canary"

    @classmethod
    def on_load(cls, *arguments, **options):
        for name in MODULES:
            original = getattr(sys.modules.get(name), "list_py_file_paths", None)
            if original is not None:
                sys.modules[name].list_py_file_paths = with_canary(original)
