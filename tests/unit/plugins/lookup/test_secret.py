# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets on the controller."""

from __future__ import annotations

import base64
import multiprocessing
import os
import subprocess
import sys

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.dataops.airflow.plugins.lookup import secret

NAME = "dataops.airflow.secret"


def make(loader=None):
    """As Ansible's own loader makes it, which would take the imports of all other tests over."""
    options = yaml.safe_load(secret.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", NAME, options)
    lookup = secret.LookupModule(loader=loader)
    lookup._load_name = lookup._original_path = NAME
    return lookup


@pytest.fixture
def look(tmp_path):
    def run(*names, check=False, loader=None, **options):
        variables = {"inventory_dir": str(tmp_path), "ansible_check_mode": check}
        return make(loader).run(list(names), variables, **options)

    return run


def test_generated_once_and_for_its_owner_alone(look, tmp_path):
    umask = os.umask(0)
    try:
        first = look("a", "b")
    finally:
        os.umask(umask)
    assert look("a", "b") == first and first[0] != first[1]
    assert len(first[0]) == 48 and first[0].isalnum()
    directory = tmp_path / ".secrets"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {"a": 0o600, "b": 0o600}
    assert (directory / "a").stat().st_nlink == 1


def test_kinds(look):
    key = look("key", kind="fernet")[0]
    assert len(base64.urlsafe_b64decode(key)) == 32 and len(key) == 44
    assert len(look("short", length=7)[0]) == 7


def test_check_mode_writes_nothing(look, tmp_path):
    first = look("a", check=True, length=300)
    assert look("a", check=True, length=300) == first and len(first[0]) == 300
    assert len(base64.urlsafe_b64decode(look("a", check=True, kind="fernet")[0])) == 32
    assert list(tmp_path.iterdir()) == []
    kept = look("a")
    assert look("a", check=True) == kept


def test_files_of_the_user(look, tmp_path):
    directory = tmp_path / "mine"
    directory.mkdir()
    path = directory / "a"
    path.write_text("  mine \n")
    path.chmod(0o600)
    assert look("a", directory=str(directory)) == ["mine"]
    path.chmod(0o640)
    with pytest.raises(AnsibleError, match="can be read by others: chmod 600") as error:
        look("a", directory=str(directory))
    assert "mine " not in str(error.value)
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(AnsibleError, match="is empty"):
        look("a", directory=str(directory))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AnsibleError, match="is no text"):
        look("a", directory=str(directory))
    path.unlink()
    path.mkdir()
    with pytest.raises(AnsibleError, match="cannot read the secret"):
        look("a", directory=str(directory))


def test_files_encrypted_with_vault(look, tmp_path):
    loader = DataLoader()
    keys = [("default", VaultSecret(b"password"))]
    loader.set_vault_secrets(keys)
    directory = tmp_path / ".secrets"
    directory.mkdir()
    (directory / "a").write_bytes(VaultLib(keys).encrypt(b"from the vault\n"))
    # It may lie in a repository, where others read it.
    (directory / "a").chmod(0o644)
    assert look("a", loader=loader) == ["from the vault"]
    with pytest.raises(AnsibleError):
        look("a", loader=DataLoader())


@pytest.mark.parametrize("name", ["../a", ".a", "a/b", "", "a b", "a\n", "$a"])
def test_names_that_are_no_file_names(look, name):
    with pytest.raises(AnsibleError, match="is not the name of a secret"):
        look(name)


def test_inventory_that_is_no_file():
    with pytest.raises(AnsibleError, match="say where the secrets are with directory="):
        make().run(["a"], {"inventory_dir": None})


def test_directory_that_cannot_be_made(look, tmp_path):
    (tmp_path / ".secrets").write_text("")
    with pytest.raises(AnsibleError, match="cannot (read|write) the secret"):
        look("a")


def test_left_by_a_run_that_was_killed(look, tmp_path, monkeypatch):
    directory = tmp_path / ".secrets"
    directory.mkdir()
    for pid in (os.getpid(), 1):
        (directory / f"a.{pid}.new").write_text("half")
        (directory / f".new-{pid}").write_text("half")
    assert len(look("a")[0]) == 48


def kept(path, barrier, results):
    barrier.wait()
    results.put(secret.keep(path, secret.generate("token", 48)))


def test_two_at_once_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    for count in range(5):
        barrier, results = context.Barrier(4), context.Queue()
        arguments = (str(tmp_path / "x" / str(count)), barrier, results)
        processes = [context.Process(target=kept, args=arguments) for each in range(4)]
        for process in processes:
            process.start()
        assert len({results.get(timeout=20) for process in processes}) == 1
        for process in processes:
            process.join()
    assert len(list((tmp_path / "x").iterdir())) == 5


def test_secrets_within_an_inventory_do_not_become_hosts(look, tmp_path):
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {}}}\n")
    value = look("a")[0]
    inventory = os.path.join(os.path.dirname(sys.executable), "ansible-inventory")
    listed = subprocess.run([inventory, "-i", str(tmp_path), "--list"], capture_output=True, text=True, check=False)
    assert listed.returncode == 0 and '"a"' in listed.stdout
    assert value not in listed.stdout + listed.stderr
