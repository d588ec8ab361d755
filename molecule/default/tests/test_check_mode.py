# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What check mode promises is what the run then does: on bare hosts, and on a cluster at work."""

from __future__ import annotations

import json

import pytest

NEW_OPTIONS = json.dumps({"airflow_options": {"core": {"parallelism": 7}}})


@pytest.fixture(scope="module")
def new_configuration(playbook):
    """Another configuration, first in check mode, then made so; both tell all they can. Afterwards, back again."""
    arguments = ("dataops.airflow.site", "-vvvv", "--diff", "--extra-vars", NEW_OPTIONS)
    runs = {"check": playbook(*arguments, "--check"), "run": playbook(*arguments)}
    runs["back in check mode"] = playbook("dataops.airflow.site", "--check")
    runs["back"] = playbook("dataops.airflow.site")
    return runs


def test_check_mode_names_the_changes_of_the_first_run(records):
    promised = records.changed("converge-check")
    done = records.changed("converge")
    assert done, "the first run changed nothing: were the hosts bare?"
    assert promised == done


def test_no_host_failed_in_check_mode(records):
    for host, counts in records.of("converge-check")[0]["hosts"].items():
        assert counts["failures"] == counts["unreachable"] == 0, host


def test_second_run_changes_nothing(records):
    assert records.changed("converge", run=1) == []


@pytest.mark.parametrize(("check", "run"), [("check", "run"), ("back in check mode", "back")])
def test_check_mode_names_the_changes_of_a_new_configuration(new_configuration, check, run):
    promised, done = new_configuration[check], new_configuration[run]
    assert promised.rc == done.rc == 0
    assert any("Write the deployment" in line for line in done.changed) == (run == "run")
    assert any("Restart" in line for line in done.changed)
    assert promised.changed == done.changed


def test_a_run_shows_the_new_option_and_no_secret(new_configuration, secrets):
    for name in ("check", "run"):
        output = new_configuration[name].output
        assert "parallelism = 7" in output
        assert [secret for secret, value in secrets.items() if value in output] == []
