# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root becomes another user."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest
import yaml
from ansible import constants
from ansible.plugins.shell.sh import ShellModule
from ansible_collections.dataops.airflow.plugins.become import runuser

NAME = "dataops.airflow.runuser"


@pytest.fixture
def become():
    """The plugin, as Ansible's own loader makes it, which would take the imports of all other tests over."""
    options = yaml.safe_load(runuser.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("become", NAME, options)
    plugin = runuser.BecomeModule()
    plugin._load_name = plugin._original_path = NAME
    plugin.set_options(direct={"become_user": "nobody"})
    return plugin


@pytest.mark.skipif(os.geteuid() != 0, reason="runuser works for root alone")
def test_a_pipelined_module_runs_as_the_user(become):
    command = become.build_become_command("""id -un; echo "it's $USER of $HOME"; cat""", ShellModule())
    done = subprocess.run(["/bin/sh", "-c", command], input=b"the module", capture_output=True, check=True)
    assert become.check_success(done.stdout)
    home = pwd.getpwnam("nobody").pw_dir
    assert become.strip_become_success(done.stdout).decode() == f"nobody\nit's nobody of {home}\nthe module"


def test_it_is_pipelined_and_asks_for_no_password(become):
    become.build_become_command("id", ShellModule())
    assert become.pipelining and not become.expect_prompt()


def test_no_command_is_no_command(become):
    assert become.build_become_command("", ShellModule()) == ""


def test_a_user_is_one_word_of_the_shell(become):
    become.set_options(direct={"become_user": "nobody; id"})
    assert become.build_become_command("id", ShellModule()).startswith("runuser -s /bin/sh 'nobody; id' -c ")
