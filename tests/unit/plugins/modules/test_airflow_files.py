# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module for directories and files on real ones."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import stat

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="what is made is given away")

THEIRS = (0o750, pwd.getpwnam("daemon").pw_uid, grp.getgrnam("mail").gr_gid)


@pytest.fixture
def run(capsys):
    def run(directories=(), files=(), absent=(), check=False):
        arguments = {
            "directories": list(directories),
            "files": list(files),
            "absent": [str(path) for path in absent],
            "owner": "daemon",
            "group": "mail",
            "_ansible_check_mode": check,
        }
        umask = os.umask(0o077)
        try:
            with patch_module_args(arguments), contextlib.suppress(SystemExit):
                airflow_files.main()
        finally:
            os.umask(umask)
        return json.loads(capsys.readouterr().out)

    return run


def seen(path):
    state = path.stat()
    return stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid


def test_makes_what_is_declared_and_then_nothing(run, tmp_path):
    top, below = tmp_path / "a/top", tmp_path / "a/top/below"
    declared = [{"path": str(top), "owner": "root", "group": "root", "mode": "0755"}, {"path": str(below)}]

    promised = run(declared, check=True)
    assert not top.exists()
    done = run(declared)

    assert promised["changed"] and promised["paths"] == done["paths"] == [str(top), str(below)]
    assert promised["diff"] == done["diff"]
    assert seen(top) == seen(top.parent) == (0o755, 0, 0)
    assert seen(below) == THEIRS
    assert run(declared) == dict(done, changed=False, paths=[], diff=[])


@pytest.mark.parametrize("wrong", ["mode", "owner", "group"])
def test_puts_one_right_and_leaves_the_others(run, tmp_path, wrong):
    declared = [{"path": str(tmp_path / name)} for name in ("one", "two")]
    run(declared)
    path = tmp_path / "two"
    (path / "kept").touch()
    if wrong == "mode":
        path.chmod(0o2770)
    else:
        os.chown(path, *((4242, -1) if wrong == "owner" else (-1, 4242)))

    assert run(declared, check=True)["paths"] == [str(path)]
    assert seen(path) != seen(tmp_path / "one")
    result = run(declared)

    assert result["paths"] == [str(path)]
    assert {"mode": "2770", "owner": "4242", "group": "4242"}[wrong] in result["diff"][0]["before"]
    assert seen(path) == seen(tmp_path / "one") == THEIRS
    assert (path / "kept").exists()


def test_a_link_to_a_directory_is_followed(run, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run([{"path": str(tmp_path / "link")}])
    assert (tmp_path / "link").is_symlink()
    assert seen(tmp_path / "real") == THEIRS


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "file"}, "no directory"),
        ({"path": "file/below"}, "Not a directory"),
        ({"path": "new", "owner": "nobody-at-all"}, "there is no user nobody-at-all"),
        ({"path": "new", "mode": "rwx"}, "invalid literal"),
    ],
)
def test_refusals_name_the_path(run, tmp_path, entry, said):
    (tmp_path / "file").touch()
    result = run([dict(entry, path=str(tmp_path / entry["path"]))])
    assert result["failed"]
    assert str(tmp_path / entry["path"]) in result["msg"] and said in result["msg"]


def test_writes_files_and_then_nothing(run, tmp_path):
    path = tmp_path / "new/file.py"
    directories = [{"path": str(path.parent)}]
    files = [{"path": str(path), "content": "one\n", "owner": "root", "mode": "0640"}]

    promised = run(directories, files, check=True)
    assert not path.parent.exists()
    done = run(directories, files)

    assert promised["changed"] and promised["paths"] == done["paths"] == [str(path.parent), str(path)]
    assert promised["diff"] == done["diff"]
    assert path.read_text() == "one\n"
    assert seen(path) == (0o640, 0, grp.getgrnam("mail").gr_gid)
    assert list(path.parent.iterdir()) == [path]
    assert run(directories, files) == dict(done, changed=False, paths=[], diff=[])


@pytest.mark.parametrize("wrong", ["content", "mode", "owner", "link"])
def test_puts_a_file_right(run, tmp_path, wrong):
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_text("other\n")
    # What a run that was killed may have left.
    (tmp_path / "file.new").write_text("half")
    files = [{"path": str(path), "content": "one\n"}]
    run(files=files)
    if wrong == "content":
        path.write_text("two\n")
    elif wrong == "mode":
        path.chmod(0o666)
    elif wrong == "owner":
        os.chown(path, 4242, -1)
    else:
        path.unlink()
        path.symlink_to(other)

    promised = run(files=files, check=True)
    done = run(files=files)

    assert promised["diff"] == done["diff"] and done["paths"] == [str(path)]
    assert {"content": "two", "mode": "0666", "owner": "4242", "link": ""}[wrong] in done["diff"][0]["before"]
    assert (path.is_symlink(), path.read_text(), other.read_text()) == (False, "one\n", "other\n")
    assert seen(path) == (0o644, *THEIRS[1:])


def test_removes_what_should_not_be_there(run, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "tree/below").mkdir(parents=True)
    paths = [tmp_path / name for name in ("file", "link", "tree", "never")]

    promised = run(absent=paths, check=True)
    assert promised["paths"] == [str(path) for path in paths[:-1]]
    assert all(path.exists() for path in paths[:-1])
    done = run(absent=paths)

    assert (done["paths"], done["diff"]) == (promised["paths"], promised["diff"])
    assert sorted(tmp_path.iterdir()) == [kept] and (kept / "file").exists()
    assert run(absent=paths)["changed"] is False


def test_a_file_that_does_not_pass_leaves_the_old_one(run, tmp_path):
    path = tmp_path / "file"
    files = [{"path": str(path), "content": "good\n", "validate": "grep good %s"}]
    assert run(files=files)["changed"]

    refused = run(files=[dict(files[0], content="bad\n", validate="ls /nowhere %s")])

    assert refused["failed"] and str(path) in refused["msg"] and "/nowhere" in refused["msg"]
    assert path.read_text() == "good\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "said"),
    [("directory", "no file"), ("nowhere/file", "No such file"), ("file/below", "Not a directory")],
)
def test_refusals_name_the_file(run, tmp_path, path, said):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    result = run(files=[{"path": str(tmp_path / path), "content": ""}])
    assert result["failed"]
    assert str(tmp_path / path) in result["msg"] and said in result["msg"]
