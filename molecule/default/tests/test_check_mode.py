# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What check mode promised on the bare hosts is what the first run then did."""

from __future__ import annotations


def test_check_mode_names_the_changes_of_the_run(records):
    promised = records.changed("converge-check")
    done = records.changed("converge")
    assert done, "the first run changed nothing: were the hosts bare?"
    assert promised == done


def test_no_host_failed_in_check_mode(records):
    for host, counts in records.of("converge-check")[0]["hosts"].items():
        assert counts["failures"] == counts["unreachable"] == 0, host


def test_second_run_changes_nothing(records):
    assert records.changed("converge", run=1) == []
