# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees in a browser: the tests go on where the one before them left the page."""

from __future__ import annotations

import pytest

LOGIN_FORM = "input[name=password]"


@pytest.fixture
def signed_in_at(cluster):
    """The master that answered the login form."""

    def find():
        line = "method=POST path=/auth/login/ .*status_code=302"
        times = {}
        for name, master in cluster.masters.items():
            found = master.run(
                "sh", "-c", f"journalctl --unit airflow-api-server --output cat | grep '{line}' | tail -n 1"
            )
            times[name] = found.split(" ")[0]
        return cluster.masters[max(times, key=times.get)]

    return find


def sees_own_name(browser, cluster):
    """The menu of the user tells who is logged in."""
    browser.follow("User")
    browser.see("Signed in as", cluster.user)


def test_administrator_logs_in(browser, cluster):
    browser.open("/")
    browser.wait("there is no login form", lambda: browser.find(LOGIN_FORM))
    browser.picture("login")
    browser.find("input[name=username]")[0].send_keys(cluster.user)
    browser.find(LOGIN_FORM)[0].send_keys(cluster.password)
    browser.find("[type=submit]")[0].click()
    browser.see("Welcome", "Dag Processor")
    # The way back goes through the proxy too, whatever port the master listens on.
    assert browser.driver.current_url.startswith(browser.url + "/")
    sees_own_name(browser, cluster)
    browser.picture("home")


def test_runs_of_the_canary_are_shown_as_successful(browser, cluster):
    for worker in cluster.workers:
        browser.open(f"/dags/dataops_canary__{worker}/runs")

        def runs():
            rows = [row.text for row in browser.find("table tbody tr")]
            # Rows are drawn empty first.
            return rows if rows and all("canary__" in row for row in rows) else None

        shown = browser.wait("no run is shown", runs)
        assert [row for row in shown if "Success" not in row] == []
    browser.picture("runs")


def test_log_shows_the_line_that_the_canary_wrote(browser, cluster):
    worker = list(cluster.workers)[-1]
    browser.open(f"/dags/dataops_canary__{worker}/runs")
    browser.follow("canary__.*", "table a")
    browser.see("Task Instances")
    browser.follow("canary", "table a")
    browser.see("dataops_canary: run canary__", f"of worker {worker}, deployment ")
    browser.picture("log")


def test_user_stays_logged_in_without_the_master_that_let_him_in(browser, cluster, signed_in_at):
    master = signed_in_at()
    master.kill()
    try:
        browser.driver.refresh()
        browser.see("of worker ")
        assert not browser.find(LOGIN_FORM)
        sees_own_name(browser, cluster)
        browser.picture("without-master")
        browser.open("/")
        browser.see("Welcome", "Dag Processor")
    finally:
        master.start()
