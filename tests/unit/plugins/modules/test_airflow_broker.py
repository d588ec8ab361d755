# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The broker's answers, as the release's client words them. The client here answers what a test says."""

from __future__ import annotations

import json
import os
import pwd
import sys

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_broker
from refusals import refused

PASSWORD = "hunter2-secret"
CLIENT = """
import json, os
SAYS = json.load(open(os.path.join(os.path.dirname(__file__), "says.json")))

class AuthenticationError(Exception):
    pass

class Client:
    def info(self, section):
        return {"role": SAYS.get("role", "master")}

class Channel:
    client = Client()

class Connection:
    hostname, port, virtual_host, password = "broker1", 6379, SAYS.get("database", "0"), %r
    default_channel = Channel()

    def __init__(self, url, connect_timeout):
        assert self.password in url
        self.ssl = url.startswith("rediss://")

    def connect(self):
        if SAYS.get("error"):
            raise AuthenticationError(SAYS["error"])

    def release(self):
        pass
"""


@pytest.fixture
def login(tmp_path):
    """The module's result with a broker that answers so."""
    site = tmp_path / "venv" / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    site.mkdir(parents=True)
    (tmp_path / "venv/bin").mkdir()
    base = getattr(sys, "_base_executable", None) or sys.executable
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\n")
    (tmp_path / "venv/bin/python").symlink_to(base)
    (site / "kombu.py").write_text(CLIENT % PASSWORD)

    def run(check=False, scheme="redis", venv="venv", **says):
        (site / "says.json").write_text(json.dumps(says))
        (tmp_path / "airflow.cfg").write_text(f"[celery]\nbroker_url = {scheme}://:{PASSWORD}@broker1:6379/0\n")
        arguments = {
            "venv": str(tmp_path / venv),
            "home": str(tmp_path),
            "config": str(tmp_path / "airflow.cfg"),
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "_ansible_check_mode": check,
        }
        outcome = {}

        def keep(_module, **result):
            outcome.update(result)
            raise SystemExit

        with pytest.MonkeyPatch.context() as patch, patch_module_args(arguments):
            patch.setattr(basic.AnsibleModule, "exit_json", keep)
            patch.setattr(basic.AnsibleModule, "fail_json", lambda module, **r: keep(module, failed=True, **r))
            with pytest.raises(SystemExit):
                airflow_broker.main()
        assert PASSWORD not in json.dumps(outcome)
        return outcome

    return run


@pytest.mark.parametrize("check", [False, True])
def test_a_broker_that_lets_us_in(login, check):
    wanted = {"host": "broker1", "port": 6379, "database": "0", "encrypted": False}
    assert login(check=check) == {"changed": False, "broker": wanted}
    assert login(check=check, scheme="rediss")["broker"]["encrypted"]


def test_the_password_is_refused(login):
    error = "invalid username-password pair or user is disabled."
    assert refused("c-broker-password", login(error=error)["msg"])


def test_a_password_is_needed(login):
    assert refused("c-broker-password-needed", login(error="Authentication required.")["msg"])


def test_no_password_is_needed(login):
    error = "AUTH <password> called without any password configured for the default user. Are you sure ...?"
    assert refused("c-broker-no-password", login(error=error)["msg"])


def test_there_is_no_such_database(login):
    assert refused("c-broker-database", login(error="DB index is out of range", database="99")["msg"])


def test_a_replica(login):
    assert refused("c-broker-replica", login(role="slave")["msg"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("max number of clients reached", "raise maxclients there"),
        ("this user has no permissions to run the 'info' command", "grant it all keys and commands"),
    ],
)
def test_other_answers(login, error, words):
    assert words in login(error=error)["msg"]


def test_what_is_not_known_is_shown_without_the_password(login):
    assert refused("c-broker-tls", login(error=f"Connection closed by server, after {PASSWORD}")["msg"])
    text = login(error="certificate verify failed", scheme="rediss")["msg"]
    assert "(AuthenticationError: certificate verify failed): look whether it runs, and whether its certificate" in text


def test_the_release_is_still_to_come(login):
    assert login(check=True, venv="none") == {"changed": False, "broker": None}
    assert "is not installed on this host" in login(venv="none")["msg"]


def test_a_configuration_without_a_broker(login, tmp_path):
    (tmp_path / "venv/lib/python{}.{}".format(*sys.version_info) / "site-packages/kombu.py").unlink()
    assert "cannot ask about it: " in login()["msg"]
