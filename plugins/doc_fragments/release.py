# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that runs programs of an installed Airflow release."""

    DOCUMENTATION = r"""
options:
  venv:
    description: Virtual environment of the Airflow release.
    type: path
    required: true
  home:
    description: E(AIRFLOW_HOME) of the programs that are run.
    type: path
    required: true
  config:
    description: Path of the C(airflow.cfg) that the programs read.
    type: path
    required: true
  user:
    description: The user the programs run as. The module itself needs root, or this user.
    type: str
    default: airflow
  current:
    description: The deployment in use. In check mode it stands in for one that is still to be written.
    type: path
"""
