# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of refusals, for the tests of all kinds."""

from __future__ import annotations

import pathlib
import re

import yaml

ROWS = yaml.safe_load(pathlib.Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
DECLARED = [row for row in ROWS if "declare" in row]
NAMED = {row["name"]: row for row in ROWS if "name" in row}


def refused(name, text):
    """Whether the text, such as what a run prints, has the refusal of that name."""
    wanted = re.escape(" ".join(NAMED[name]["says"].split())).replace(re.escape("..."), ".*?")
    # What a run prints is JSON.
    flat = " ".join(text.replace('\\"', '"').split())
    return re.search(wanted, flat) is not None
