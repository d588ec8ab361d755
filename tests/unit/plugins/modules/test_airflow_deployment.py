# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deployment module on real files."""

from __future__ import annotations

import contextlib
import grp
import json
import multiprocessing
import os

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_deployment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files are made root's")

GROUP = "daemon"
URL = "postgresql://airflow:s3cret%2F@db/airflow"


class Bench:
    """A host and what is declared for it."""

    def __init__(self, root):
        self.root = root
        self.path = root / "deployments" / "0f3a9be41c22"
        self.arguments = {
            "path": str(self.path),
            "current": str(root / "current"),
            "release": "/opt/airflow/releases/one",
            "version": "3.3.2",
            "config": f"[core]\nparallelism = 3\nhere = {self.path}/x\n",
            "environment": {"A": "one", "B": 'q"u$o`te\\'},
            "files": {},
            "secrets": {"database.sql_alchemy_conn": URL, "core.fernet_key": "the-key\r\nü"},
            "secret_environment": {},
            "fingerprints": {"database.sql_alchemy_conn": "aaaa", "core.fernet_key": "bbbb"},
            "group": GROUP,
        }

    def seen(self):
        """Name, mode, owner, group and content of everything."""
        found = {}
        for path in sorted([self.path, *self.path.rglob("*")]):
            state = path.lstat()
            if path.is_symlink():
                content = os.readlink(path)
            else:
                content = path.read_bytes() if path.is_file() else None
            name = str(path.relative_to(self.path))
            found[name] = (oct(state.st_mode & 0o7777), state.st_uid, grp.getgrgid(state.st_gid).gr_name, content)
        return found


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(airflow_deployment.os, "sync", lambda: None)
    umask = os.umask(0o077)
    yield Bench(tmp_path)
    os.umask(umask)


@pytest.fixture
def call(bench, capsys):
    """Calls the module, and makes sure that no secret gets out of it."""

    def run(check=False, **more):
        declared = dict(bench.arguments, **more)
        beside = {name: declared.pop(name) for name in ("current", "group")}
        arguments = dict(beside, deployment=declared, _ansible_check_mode=check)
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_deployment.main()
        text = capsys.readouterr().out
        assert "s3cret" not in text and "the-key" not in text
        return json.loads(text)

    return run


def test_new_deployment(bench, call):
    result = call(check=True)
    assert result["changed"] is True and result["repaired"] == []
    assert list(bench.root.iterdir()) == []
    result = call()
    assert result["changed"] is True and result["repaired"] == []
    manifest = {
        "digest": "0f3a9be41c22",
        "fingerprints": bench.arguments["fingerprints"],
        "release": "/opt/airflow/releases/one",
        "version": "3.3.2",
    }
    seen = bench.seen()
    assert json.loads(seen["manifest.json"][3]) == manifest
    seen["manifest.json"] = seen["manifest.json"][:3]
    assert seen == {
        ".": ("0o755", 0, "root", None),
        "airflow.cfg": ("0o644", 0, GROUP, bench.arguments["config"].encode()),
        "environment": ("0o640", 0, GROUP, b'A="one"\nB="q\\"u\\$o\\`te\\\\"\n'),
        "manifest.json": ("0o644", 0, GROUP),
        "release": ("0o777", 0, "root", "/opt/airflow/releases/one"),
        "secrets": ("0o750", 0, GROUP, None),
        "secrets/core.fernet_key": ("0o640", 0, GROUP, "the-key\r\nü".encode()),
        "secrets/database.sql_alchemy_conn": ("0o640", 0, GROUP, URL.encode()),
    }
    assert bench.path.parent.stat().st_mode & 0o777 == 0o755
    before = {path: path.lstat().st_mtime_ns for path in bench.root.rglob("*")}
    for check in (True, False):
        result = call(check=check)
        assert result["changed"] is False and "diff" not in result
    assert {path: path.lstat().st_mtime_ns for path in bench.root.rglob("*")} == before


def test_further_files_are_written_and_shown(bench, call):
    call(files={"pod_template.yml": "kind: Pod\n"})
    assert bench.seen()["pod_template.yml"] == ("0o644", 0, GROUP, b"kind: Pod\n")
    (bench.root / "current").symlink_to(bench.path)
    assert call(files={"pod_template.yml": "kind: Pod\n"})["changed"] is False
    found = call(path=str(bench.path.with_name("other")), files={"pod_template.yml": "kind: Pad\n"})["diff"]
    assert "# pod_template.yml\nkind: Pod\n" in found["before"] and "# pod_template.yml\nkind: Pad\n" in found["after"]
    (bench.path / "pod_template.yml").write_text("kind: None\n")
    assert call(files={"pod_template.yml": "kind: Pod\n"})["repaired"] == ["pod_template.yml"]


def test_diff_against_the_deployment_in_use(bench, call):
    first = call()
    assert first["diff"]["before"] == "" and "parallelism = 3" in first["diff"]["after"]
    (bench.root / "current").symlink_to(bench.path)
    bench.path = bench.path.with_name("111111111111")
    bench.arguments.update(
        path=str(bench.path),
        config=f"[core]\nparallelism = 4\nhere = {bench.path}/x\n",
        fingerprints={"database.sql_alchemy_conn": "cccc", "core.fernet_key": "bbbb"},
    )
    for check in (True, False):
        diff = call(check=check)["diff"]
        before, after = diff["before"].splitlines(), diff["after"].splitlines()
        assert [line for line in before if line not in after] == [
            "parallelism = 3",
            "database.sql_alchemy_conn aaaa",
        ]
        assert [line for line in after if line not in before] == [
            "parallelism = 4",
            "database.sql_alchemy_conn cccc",
        ]
    assert (bench.path.parent / "0f3a9be41c22").exists()


def spoil_content(bench):
    (bench.path / "airflow.cfg").write_text("[core]\n")


def spoil_bytes(bench):
    (bench.path / "environment").write_bytes(b"\xff\xfe")


def spoil_mode(bench):
    (bench.path / "secrets/core.fernet_key").chmod(0o644)


def spoil_group(bench):
    os.chown(bench.path / "secrets/core.fernet_key", 0, 0)


def spoil_owner(bench):
    os.chown(bench.path / "secrets", 1, -1)


def spoil_directory(bench):
    bench.path.chmod(0o700)


def spoil_link(bench):
    (bench.path / "release").unlink()


def spoil_link_to_a_file(bench):
    (bench.path / "release").unlink()
    (bench.path / "release").write_text("")


def spoil_secret_link(bench):
    elsewhere = bench.root / "elsewhere"
    elsewhere.write_text("theirs")
    (bench.path / "secrets/core.fernet_key").unlink()
    (bench.path / "secrets/core.fernet_key").symlink_to(elsewhere)


def spoil_directory_for_file(bench):
    (bench.path / "manifest.json").unlink()
    (bench.path / "manifest.json").mkdir()


def spoil_manifest(bench):
    (bench.path / "manifest.json").write_text("[]")


def spoil_killed_repair(bench):
    (bench.path / "secrets/core.fernet_key").unlink()
    (bench.path / "secrets/core.fernet_key.new").write_text("half")


def spoil_extra(bench):
    (bench.path / "secrets/old").write_text("x")
    (bench.path / "secrets/more").mkdir()


@pytest.mark.parametrize(
    "spoil, named",
    [
        (spoil_content, ["airflow.cfg"]),
        (spoil_bytes, ["environment"]),
        (spoil_mode, ["secrets/core.fernet_key"]),
        (spoil_group, ["secrets/core.fernet_key"]),
        (spoil_owner, ["secrets"]),
        (spoil_directory, ["."]),
        (spoil_link, ["release"]),
        (spoil_link_to_a_file, ["release"]),
        (spoil_secret_link, ["secrets/core.fernet_key"]),
        (spoil_directory_for_file, ["manifest.json"]),
        (spoil_manifest, ["manifest.json"]),
        (spoil_killed_repair, ["secrets/core.fernet_key", "secrets/core.fernet_key.new"]),
        (spoil_extra, ["secrets/more", "secrets/old"]),
    ],
)
def test_tampered_deployment_is_put_right(bench, call, spoil, named):
    call()
    whole = bench.seen()
    spoil(bench)
    spoilt = bench.seen()
    result = call(check=True)
    assert (result["changed"], result["repaired"]) == (True, named)
    assert bench.seen() == spoilt
    result = call()
    assert (result["changed"], result["repaired"]) == (True, named)
    assert bench.seen() == whole
    assert call()["changed"] is False
    if spoil is spoil_secret_link:
        assert (bench.root / "elsewhere").read_text() == "theirs"


def test_killed_while_it_was_written(bench, call):
    for name in ("0f3a9be41c22.new", "222222222222.new"):
        left = bench.path.parent / name / "secrets"
        left.mkdir(parents=True)
        (left / "core.fernet_key").write_text("half")
    call()
    assert sorted(path.name for path in bench.path.parent.iterdir()) == [".lock", "0f3a9be41c22"]
    assert call()["changed"] is False


def test_secrets_are_never_more_open_than_in_the_end(bench, call, monkeypatch):
    opened = []
    real = os.open

    def watched(path, flags, mode=0o777, **more):
        if "/secrets/" in str(path):
            opened.append((oct(mode), bool(flags & os.O_EXCL)))
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watched)
    call()
    assert opened == [("0o600", True)] * 2


def test_missing_group(bench, call):
    assert call(check=True, group="no-such-group")["changed"] is True
    result = call(group="no-such-group")
    assert result["failed"] and "there is no group no-such-group" in result["msg"]
    assert not bench.path.exists()


def write(arguments, barrier):
    barrier.wait()
    deployment = airflow_deployment.Deployment(arguments, GROUP)
    for count in range(20):
        with deployment.alone():
            deployment.write(deployment.wrong())
        assert deployment.wrong() == [], count


def test_two_at_once(bench):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=write, args=(bench.arguments, barrier)) for count in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert not list(bench.root.rglob("*.new"))


@pytest.mark.parametrize(
    "value, text",
    [
        ("plain", '"plain"'),
        ("", '""'),
        (" a  b ", '" a  b "'),
        ("it's", '"it\'s"'),
        ('"', '"\\""'),
        ("$HOME ${X}", '"\\$HOME \\${X}"'),
        ("`x`", '"\\`x\\`"'),
        ("\\n\\", '"\\\\n\\\\"'),
        ("%h", '"%h"'),
        ("two\nlines", '"two\nlines"'),
    ],
)
def test_values_are_quoted_as_systemd_unquotes_them(value, text):
    """Each of these was read back unchanged through EnvironmentFile= of systemd 252."""
    assert airflow_deployment.quoted(value) == text
