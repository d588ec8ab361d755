# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster of containers as its inventory tells, and a browser that nobody looks at."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.request

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parents[2]

# No sandbox: the tests run as root. What is turned off besides asks hosts on the internet, or a graphics card.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
]


def docker(*arguments):
    """What a docker command prints."""
    return subprocess.run(
        ["docker", *arguments], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout.strip()


class Host:
    """A container of the cluster."""

    def __init__(self, container):
        self.container = container

    @property
    def address(self):
        return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.container)

    def run(self, *command):
        return docker("exec", self.container, *command)

    def kill(self):
        """Goes as in a power failure."""
        docker("kill", self.container)

    def start(self):
        """Comes back, and answers."""
        docker("start", self.container)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.address}:8080/execution/health", timeout=5).close()
                return
            except OSError:
                time.sleep(1)
        raise AssertionError(f"{self.container} does not come back")


class Cluster:
    """The hosts of an inventory by their groups, and what a person needs to log in."""

    def __init__(self, inventory):
        listed = subprocess.run(
            ["ansible-inventory", "-i", str(inventory), "--list"], check=True, text=True, stdout=subprocess.PIPE
        )
        found = json.loads(listed.stdout)
        variables = found["_meta"]["hostvars"]
        self.masters, self.workers = (
            {name: Host(variables[name]["ansible_host"]) for name in found[group]["hosts"]}
            for group in ("master", "worker")
        )
        self.user = "admin"
        self.password = (inventory / ".secrets/admin_password").read_text().strip()

    @property
    def url(self):
        """The proxy of a worker: whichever master goes, it stays."""
        return f"http://{next(iter(self.workers.values())).address}:8089"


class Browser:
    """Chromium, and what a person does with it."""

    def __init__(self, url, profile, pictures):
        self.url = url
        self.pictures = pictures
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))

    def wait(self, what, condition, seconds=180):
        """The first true answer of a condition. The page may draw itself anew while it is looked at."""
        waiting = WebDriverWait(self.driver, seconds, ignored_exceptions=[StaleElementReferenceException])
        try:
            return waiting.until(lambda driver: condition(), what)
        except Exception:
            self.picture("failure")
            print(self.text)
            raise

    def open(self, path):
        self.driver.get(self.url + path)

    def find(self, selector):
        """The elements that a person sees."""
        return [found for found in self.driver.find_elements(By.CSS_SELECTOR, selector) if found.is_displayed()]

    def follow(self, text, selector="a, button"):
        """Clicks the first link or button with this text, given as a pattern."""

        def click():
            for found in self.find(selector):
                if re.fullmatch(text, found.text):
                    found.click()
                    return True
            return False

        self.wait(f"nothing to click says {text}", click)

    def see(self, *texts):
        """Waits until the page shows each of the texts."""
        for text in texts:
            self.wait(f"the page does not show: {text}", lambda text=text: text in self.text)

    @property
    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def picture(self, name):
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))


@pytest.fixture(scope="session")
def cluster():
    return Cluster(ROOT / os.environ.get("BROWSER_INVENTORY", "inventories/demo"))


@pytest.fixture(scope="session")
def browser(cluster, tmp_path_factory):
    pictures = ROOT / "tests/output/browser"
    pictures.mkdir(parents=True, exist_ok=True)
    browser = Browser(cluster.url, tmp_path_factory.mktemp("profile"), pictures)
    yield browser
    browser.driver.quit()
