# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page without Grafana, in a browser. Pictures are in tests/output/dashboards."""

from __future__ import annotations

import pytest
from dashboards import panels
from prometheus import get
from selenium.webdriver.common.by import By

PANELS = [panel for panel in panels("airflow-cluster") if panel["title"] != "Alerts"]
DRAWN = {"stat": "strong", "table": "td", "timeseries": "svg path"}


def refreshed(browser):
    """Waits until the page has asked for everything once more."""
    browser.driver.execute_script("delete document.body.dataset.state; refresh()")
    browser.wait("the page does not end its questions", lambda: state(browser), 60)


def state(browser):
    return browser.driver.find_element(By.TAG_NAME, "body").get_attribute("data-state")


def card(browser, title):
    return browser.driver.find_element(By.XPATH, f'//section[h3="{title}"]')


def pictures(browser, name):
    """What is seen first, and the whole page."""
    browser.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    browser.driver.set_window_size(1280, 1400)
    refreshed(browser)
    browser.picture(name)
    height = browser.driver.execute_script("return document.documentElement.scrollHeight")
    browser.driver.set_window_size(1280, height + 150)
    browser.picture(f"{name}-whole")


@pytest.fixture
def opened(browser, prometheus):
    browser.open("/consoles/airflow.html")
    browser.wait("the page does not end its questions", lambda: state(browser), 60)
    return browser


@pytest.fixture
def asking(opened):
    """Changes the query of a panel."""

    def change(title, query):
        script = (
            "PANELS.find((one) => one.title === arguments[0]).targets.forEach((one) => { one.expr = arguments[1]; }); "
        )
        opened.driver.execute_script(script, title, query)
        refreshed(opened)
        return card(opened, title)

    return change


def test_prometheus_serves_the_file_as_it_is(page, prometheus):
    text = page.read_text(encoding="utf-8")
    assert "{{" not in text
    assert get(f"{prometheus}/consoles/airflow.html") == text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_panel_is_drawn(opened, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    pictures(opened, scheme)
    assert state(opened) == "shown"
    for panel in PANELS:
        assert opened.find(f"#panel-{panel['id']} {DRAWN[panel['type']]}"), panel["title"]
    assert not opened.find("svg text:empty, td:empty")
    assert "NaN" not in opened.driver.page_source.split("<script>")[0]


def test_page_asks_nobody_but_its_prometheus(opened):
    asked = opened.driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert len(asked) > len(PANELS)
    assert [url for url in asked if not url.startswith(opened.url + "/api/v1/")] == []


def test_firing_alerts_are_on_top(opened):
    first, second = opened.find(".alert")
    assert "AirflowTaskQueued" in first.text and "AirflowPoolFull" in second.text
    # What alerts say is text, and only an address of a page becomes a link.
    assert "pool <warehouse>" in second.text
    link = first.find_element(By.TAG_NAME, "a")
    assert link.get_attribute("href") == "https://docs.example.invalid/alerts/AirflowTaskQueued.md"
    assert not second.find_elements(By.TAG_NAME, "a")
    assert "AirflowDiskFilling" in opened.find(".pending")[0].text
    assert opened.driver.title == "(2) Airflow cluster"


def test_panel_leads_to_its_query(opened):
    address = card(opened, "Queued tasks").find_element(By.TAG_NAME, "a").get_attribute("href")
    assert address.startswith(f"{opened.url}/graph?g0.expr=max%28airflow_num_queued_tasks%29")


def test_time_that_is_shown_can_be_chosen(opened):
    opened.follow("24 h")
    assert opened.driver.current_url.endswith("/consoles/airflow.html#86400")
    refreshed(opened)
    assert state(opened) == "shown"
    opened.driver.refresh()
    assert opened.find("button[aria-pressed=true]")[0].text == "24 h"


@pytest.mark.parametrize("title", ["Queued tasks", "Pools", "Queued and running tasks"])
def test_wrong_query_says_what_is_wrong(asking, title):
    found = asking(title, "max(")
    assert "parse error" in found.find_element(By.CLASS_NAME, "error").text


@pytest.mark.parametrize("title", ["Queued tasks", "Pools", "Queued and running tasks"])
def test_query_without_an_answer_says_so(asking, title):
    found = asking(title, "absent_metric")
    assert found.find_element(By.CLASS_NAME, "none").text == "no data"


def test_prometheus_that_is_away_is_told_and_what_was_seen_stays(opened):
    conditions = {"offline": True, "latency": 0, "download_throughput": 0, "upload_throughput": 0}
    opened.driver.set_network_conditions(**conditions)
    try:
        refreshed(opened)
        opened.see("Prometheus does not answer", "What is shown is of")
        assert card(opened, "Queued tasks").find_elements(By.TAG_NAME, "strong")
        opened.driver.set_window_size(1280, 800)
        opened.picture("away")
    finally:
        opened.driver.delete_network_conditions()
    refreshed(opened)
    assert not opened.find("#problem")
