# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the value of the executor means, and which forms a version takes."""

from __future__ import annotations

import pytest
from ansible_collections.dataops.airflow.plugins.module_utils._releases import release
from ansible_collections.dataops.airflow.plugins.plugin_utils._executors import executor_problems, executors

FACTS = release("3.3.2")
# As before lists of executors came up.
OLDER = dict(
    FACTS,
    version="2.9.3",
    executor_lists=False,
    executors=["CeleryExecutor", "LocalExecutor", "KubernetesExecutor", "CeleryKubernetesExecutor"],
)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("CeleryExecutor", ["CeleryExecutor"]),
        ("CeleryExecutor, KubernetesExecutor", ["CeleryExecutor", "KubernetesExecutor"]),
        ("KubernetesExecutor,CeleryExecutor", ["KubernetesExecutor", "CeleryExecutor"]),
        ("CeleryKubernetesExecutor", ["CeleryExecutor", "KubernetesExecutor"]),
        ("LocalKubernetesExecutor", ["KubernetesExecutor", "LocalExecutor"]),
        (
            "k8s:airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor",
            ["k8s", "KubernetesExecutor"],
        ),
        ("airflow.providers.edge3.executors.EdgeExecutor", ["EdgeExecutor"]),
        ("", []),
    ],
)
def test_kinds(text, wanted):
    assert executors(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "LocalExecutor",
        "CeleryExecutor,KubernetesExecutor",
        "KubernetesExecutor, CeleryExecutor",
        "mine.Executor",
        "celery:airflow.providers.celery.executors.celery_executor.CeleryExecutor,KubernetesExecutor",
    ],
)
def test_forms_that_are_taken(text):
    assert executor_problems(text, FACTS) == []


@pytest.mark.parametrize(
    "facts, text, fix",
    [
        (FACTS, "CeleryKubernetesExecutor", "write CeleryExecutor,KubernetesExecutor"),
        (FACTS, "LocalKubernetesExecutor", "write LocalExecutor,KubernetesExecutor"),
        (OLDER, "CeleryExecutor,KubernetesExecutor", "write CeleryKubernetesExecutor"),
        (
            OLDER,
            "LocalExecutor,CeleryExecutor",
            "write CeleryExecutor or LocalExecutor or KubernetesExecutor or CeleryKubernetesExecutor",
        ),
    ],
)
def test_forms_of_another_version_lead_to_the_right_one(facts, text, fix):
    ((variable, what, told),) = executor_problems(text, facts)
    assert (variable, told) == ("airflow_executor", fix)
    assert what.startswith("Airflow %s " % facts["version"])


def test_an_older_pair_is_taken_where_it_is_known():
    assert executor_problems("CeleryKubernetesExecutor", OLDER) == []


@pytest.mark.parametrize("text", ["", "SequentialExecutor", "CeleryExecutor,", "celeryexecutor"])
def test_what_is_no_executor(text):
    ((variable, _what, fix),) = executor_problems(text, FACTS)
    assert variable == "airflow_executor" and fix.startswith(
        "use CeleryExecutor or LocalExecutor or KubernetesExecutor"
    )
