# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release module with a real uv and a real pip, wheels made here, and no network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_release

COLLECTIONS = pathlib.Path(airflow_release.__file__).parents[5]
UV = shutil.which("uv", path=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_release
with patch_module_args(json.load(sys.stdin)):
    airflow_release.main()
"""
# What the module starts is written down, and waits where a test wants it to.
WRAPPER = """#!/bin/sh
echo "$@" >> {log}
env > {log}.environment
case "$*" in *"pip install"*)
    if [ -e {log}.wait ]; then
        touch {log}.waits
        while [ -e {log}.wait ]; do sleep 0.05; done
    fi ;;
esac
exec {uv} "$@"
"""


def wheel(directory, name, version, files):
    """Makes a wheel and returns its line of a lock."""
    about = f"{name}-{version}.dist-info"
    files = dict(
        files,
        **{
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        },
    )
    record = ""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{member},sha256={digest},{len(text)}\n"
        archive.writestr(f"{about}/RECORD", record + f"{about}/RECORD,,\n")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Bench:
    """A host with a wheelhouse."""

    def __init__(self, root):
        self.root = root
        self.path = root / "releases" / "one"
        self.uv_path = root / "uv"
        self.log = root / "log"
        self.wheels = root / "wheels"
        self.wheels.mkdir()
        self.lock = wheel(self.wheels, "tiny", "1.0", {"tiny/__init__.py": "NAME = 'tiny'\n"})
        self.newer = wheel(self.wheels, "tiny", "2.0", {"tiny/__init__.py": "NAME = 'newer'\n"})
        self.arguments = {
            "path": str(self.path),
            "python": sys.executable,
            "requirements": ["tiny==1.0"],
            "lock": self.lock,
            "uv_path": str(self.uv_path),
            "uv_lock": "uv==1",
            "find_links": [str(self.wheels)],
            "cache_dir": str(root / "cache"),
            "timeout": 60,
        }

    def has_uv(self):
        """As if an earlier run had installed uv."""
        if UV is None:
            pytest.skip("there is no uv beside the interpreter or on PATH")
        (self.uv_path / "bin").mkdir(parents=True)
        (self.uv_path / ".complete.json").write_text("uv==1")
        script = self.uv_path / "bin" / "uv"
        script.write_text(WRAPPER.format(log=self.log, uv=UV))
        script.chmod(0o755)

    def commands(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def name(self):
        """What the environment's interpreter imports."""
        program = "import tiny; print(tiny.NAME)"
        return subprocess.check_output([self.path / "bin" / "python", "-c", program], text=True).strip()

    def start(self):
        arguments = self.root / "arguments.json"
        arguments.write_text(json.dumps(self.arguments))
        with arguments.open() as handle:
            return subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(COLLECTIONS)],
                stdin=handle,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(airflow_release.os, "sync", lambda: None)
    umask = os.umask(0o077)
    yield Bench(tmp_path)
    os.umask(umask)


@pytest.fixture
def call(bench, capsys):
    def run(check=False, **more):
        arguments = dict(bench.arguments, _ansible_check_mode=check, **more)
        arguments = {name: value for name, value in arguments.items() if value is not None}
        with patch_module_args(arguments), contextlib.suppress(SystemExit):
            airflow_release.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_build_check_and_build_again(bench, call):
    bench.has_uv()
    result = call(check=True)
    assert result["changed"] is True and result["diff"]["after"] == "tiny==1.0\n"
    assert not bench.path.parent.exists() and not bench.commands()
    result = call()
    assert result["changed"] is True and result["seconds"] > 0
    assert bench.name() == "tiny"
    assert list(bench.path.glob("lib/*/site-packages/tiny/__pycache__/__init__.*.pyc"))
    built = sorted(path.name for path in bench.path.parent.iterdir())
    assert built == [".lock", "one"]
    commands = len(bench.commands())
    for check in (True, False):
        result = call(check=check)
        assert result["changed"] is False and "diff" not in result
    assert len(bench.commands()) == commands


def test_other_users_can_read_the_environment_whatever_the_umask(bench, call):
    bench.has_uv()
    call()
    for path in [bench.path.parent, bench.path, *bench.path.rglob("*")]:
        if not path.is_symlink():
            wanted = 0o555 if path.is_dir() else 0o444
            assert path.stat().st_mode & wanted == wanted, path


@pytest.mark.parametrize("spoilt", ["a hash is wrong", "a package is not locked"])
def test_what_the_lock_does_not_say_is_refused_and_leaves_nothing(bench, call, spoilt):
    bench.has_uv()
    lock = bench.newer.replace("2.0", "1.0") if spoilt == "a hash is wrong" else bench.newer.replace("tiny", "other")
    result = call(lock=lock)
    assert result["failed"] and "failed with exit code" in result["msg"]
    assert [path.name for path in bench.path.parent.iterdir()] == [".lock"]
    assert call()["changed"] is True


def test_constraints_know_the_interpreter(bench, call):
    bench.has_uv()
    version = "{}.{}".format(*sys.version_info[:2])
    (bench.root / f"constraints-{version}.txt").write_text("tiny==1.0\n")
    url = str(bench.root / "constraints-{python}.txt")
    assert call(lock=None, constraints_url=url, requirements=["tiny"])["changed"] is True
    assert bench.name() == "tiny"


@pytest.mark.parametrize(
    "other, said",
    [({"requirements": ["tiny==2.0"]}, "requirements"), ({"lock": "tiny==1.0 --hash=sha256:00"}, "lock")],
)
def test_a_release_is_immutable(bench, call, other, said):
    bench.has_uv()
    call()
    for check in (True, False):
        result = call(check=check, **other)
        assert result["failed"] and f"built from another {said}:" in result["msg"]
    assert bench.name() == "tiny"


def test_marker_of_an_earlier_version_of_the_module(bench, call):
    bench.has_uv()
    call()
    marker = bench.path / ".complete.json"
    known = json.loads(marker.read_text())
    del known["lock"]
    marker.write_text(json.dumps(known))
    assert call()["changed"] is False


@pytest.mark.parametrize("left", ["directories only", "no marker", "half a marker"])
def test_half_a_build_is_built_anew(bench, call, left):
    bench.has_uv()
    (bench.path / "lib").mkdir(parents=True)
    (bench.path / "lib" / "rubbish").write_text("")
    if left == "half a marker":
        (bench.path / ".complete.json").write_text('{"python"')
    else:
        (bench.path.parent / "one.building").write_text("")
    if left == "no marker":
        (bench.path / "pyvenv.cfg").write_text("home = /nowhere\n")
    assert call(check=True)["changed"] is True
    assert (bench.path / "lib" / "rubbish").exists()
    assert call()["changed"] is True
    assert not (bench.path / "lib" / "rubbish").exists() and bench.name() == "tiny"


@pytest.mark.parametrize("option", ["path", "uv_path"])
def test_directories_of_others_are_never_removed(bench, call, option):
    bench.has_uv()
    theirs = bench.root / "precious"
    theirs.mkdir()
    (theirs / "pyvenv.cfg").write_text("made by hand")
    result = call(**{option: str(theirs)})
    assert result["failed"] and "no build of this module's" in result["msg"]
    assert (theirs / "pyvenv.cfg").read_text() == "made by hand"


def test_symbolic_link_in_the_place_of_the_release(bench, call):
    bench.has_uv()
    theirs = bench.root / "precious"
    theirs.mkdir()
    (theirs / "file").write_text("")
    bench.path.parent.mkdir()
    bench.path.symlink_to(theirs)
    (bench.path.parent / "one.building").write_text("")
    assert call()["failed"]
    assert (theirs / "file").exists()


def test_two_at_once_build_once(bench):
    bench.has_uv()
    processes = [bench.start() for count in range(2)]
    results = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert len([line for line in bench.commands() if line.startswith("pip install")]) == 1
    assert bench.name() == "tiny"


def test_killed_module_whose_installer_lives_on(bench, call):
    bench.has_uv()
    wait = bench.root / "log.wait"
    wait.write_text("")
    process = bench.start()
    while not (bench.root / "log.waits").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    result = call(timeout=1)
    assert result["failed"] and "another run on this host holds" in result["msg"]
    wait.unlink()
    assert call()["changed"] is True
    assert bench.name() == "tiny"


def test_credentials_are_neither_in_arguments_nor_in_messages(bench, call, monkeypatch):
    bench.has_uv()
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    result = call(
        find_links=[],
        index_url="http://user:pa%24word@127.0.0.1:9/simple/",
        extra_index_urls=["http://user:another@127.0.0.1:9/more"],
    )
    assert result["failed"]
    environment = (bench.root / "log.environment").read_text()
    assert "UV_DEFAULT_INDEX=http://user:pa%24word@127.0.0.1:9/simple/\n" in environment
    assert "UV_INDEX=http://user:another@127.0.0.1:9/more\n" in environment
    for text in (json.dumps(result), bench.log.read_text()):
        assert not [secret for secret in ("pa%24word", "pa$word", "another") if secret in text]


def test_messages_that_spell_an_address_anew_are_masked(bench):
    parameters = dict(bench.arguments, index_url="https://u:p%40ss@host/simple/", extra_index_urls=[])
    masked = airflow_release.Release(parameters)._masked
    assert masked("https://u:p%40ss@host/simple: no") == "https://u:********@host/simple: no"
    assert masked("password p@ss") == "password ********"


def test_pip(bench, call):
    other = "Big_Other==1.0 ; sys_platform != 'darwin' \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n"
    lock = bench.lock.replace(" --hash", " \\\n    --hash") + "    # via a comment\n" + other
    result = call(installer="pip", uv_lock=None, lock=lock)
    assert result.get("changed") is True, result
    assert bench.name() == "tiny" and not bench.uv_path.exists()


def test_lock_is_read_as_pip_reads_it():
    lock = "# head\na.B_c==1 ; x == 'y' \\\n    --hash=sha256:00\n    # via b\na-b-c==2 --hash=sha256:01\n\nd==3\n"
    assert airflow_release.entries(lock) == {
        "a-b-c": ["a.B_c==1 ; x == 'y' \\\n    --hash=sha256:00\n    # via b\n", "a-b-c==2 --hash=sha256:01\n"],
        "d": ["d==3\n"],
    }


def test_uv_that_is_gone_is_installed_again(bench, monkeypatch):
    bench.has_uv()
    started = []
    release = airflow_release.Release(dict(bench.arguments, index_url=None, extra_index_urls=[]))
    monkeypatch.setattr(release, "_run", lambda argv: started.append(argv) or os.makedirs(bench.uv_path, exist_ok=True))
    release._uv(str(bench.root))
    assert not started
    (bench.uv_path / "bin" / "uv").unlink()
    release._uv(str(bench.root))
    assert [argv[-1] for argv in started] == [str(bench.uv_path), str(bench.root / "uv.txt")]
    assert "--require-hashes" in started[1] and "--find-links" in started[1]


def test_steps_that_take_too_long_or_cannot_run(bench, call):
    bench.has_uv()
    script = bench.uv_path / "bin" / "uv"
    script.write_text("#!/bin/sh\nexec sleep 30\n")
    result = call(timeout=1)
    assert result["failed"] and "did not end within 1 seconds" in result["msg"]
    script.write_text("#!/no/such/interpreter\n")
    result = call()
    assert result["failed"] and "cannot run" in result["msg"]
