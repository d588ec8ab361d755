# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's Chromium, a browser that nobody looks at."""

from __future__ import annotations

import re

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

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


class Browser:
    """Chromium, and what a person does with it."""

    def __init__(self, url, profile, pictures):
        self.url = url
        self.pictures = pictures
        pictures.mkdir(parents=True, exist_ok=True)
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
