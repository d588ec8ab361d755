# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each refusal of the table is proven by a test, and tests name none that is not in it."""

from __future__ import annotations

import pathlib
import re

import pytest
from refusals import DECLARED, NAMED, ROWS

ROOT = pathlib.Path(__file__).resolve().parents[3]


def named_in(*folders):
    """The refusals that the tests in these folders look for."""
    texts = [path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("test_*.py")]
    return {name for text in texts if "import refused" in text for name in re.findall(r"\"([abc]-[a-z-]+)\"", text)}


def test_every_refusal_has_a_test_and_every_test_its_refusal():
    assert named_in("tests", "molecule") == set(NAMED)
    assert all(row["name"].startswith(row["gate"] + "-") for row in NAMED.values())


def test_rows_are_complete_and_differ():
    assert len(ROWS) == len(DECLARED) + len(NAMED)
    assert len({row["wrong"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row) - {"name", "declare"} == {"gate", "wrong", "says"}
        assert row["gate"] in ("a", "b", "c")


@pytest.mark.parametrize("gate, least", [("a", 19), ("b", 9), ("c", 6)])
def test_no_gate_lacks_what_it_promises(gate, least):
    assert len([row for row in ROWS if row["gate"] == gate]) >= least
