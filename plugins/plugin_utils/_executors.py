# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""What the value of [core] executor means for a cluster."""

from __future__ import annotations

import re

_KINDS = ("Celery", "Kubernetes", "Local")
# Classes of the time before lists, and what they hold.
_PAIRS = {
    "CeleryKubernetesExecutor": ["CeleryExecutor", "KubernetesExecutor"],
    "LocalKubernetesExecutor": ["LocalExecutor", "KubernetesExecutor"],
}


def executors(text):
    """The kinds of executor that are named, by aliases and paths of classes too, the default first."""
    found = []
    for word in re.split(r"[;,=:]", str(text)):
        name = word.strip().rsplit(".", 1)[-1]
        kinds = [kind + "Executor" for kind in _KINDS if kind in name] or [name]
        found += [kind for kind in kinds if kind and kind not in found]
    return found


def executor_problems(text, release):
    """What is wrong with the executor, as the gate tells it."""
    known, lists = release["executors"], release["executor_lists"]
    words = [word.strip() for word in str(text).split(",")]
    if len(words) > 1 and not lists:
        both = next((pair for pair, parts in _PAIRS.items() if parts == words and pair in known), None)
        what = "Airflow %s takes one executor, and no list" % release["version"]
        return [("airflow_executor", what, "write %s" % (both or " or ".join(known)))]
    for word in words:
        # A class of one's own is named by its path, and may have an alias before it.
        if word in known or "." in word or ":" in word:
            continue
        if word in _PAIRS and lists:
            fix = "write %s" % ",".join(_PAIRS[word])
        else:
            fix = "use %s%s, or the path of a class of your own" % (
                " or ".join(known),
                ", or several of them, separated by commas" if lists else "",
            )
        return [("airflow_executor", "Airflow %s has no executor %s" % (release["version"], word or "''"), fix)]
    return []
