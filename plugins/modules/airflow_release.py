#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_release
short_description: Build an immutable virtual environment of one Airflow release
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Builds a virtual environment at its final path, compiles its bytecode, and writes a completion marker last. A build
    that was killed leaves no marker, and is started over by the next run.
  - A complete environment is never touched again. Another version, another set of packages or another interpreter is
    another O(path). A directory that this module did not make is never removed.
  - Two runs at once on one host build one after the other; the second finds the work done.
attributes:
  check_mode:
    description: Can run in check mode and tell whether the environment would be built, without building it.
    support: full
  diff_mode:
    description: Returns the requirements of the environment that would be, or was, built.
    support: full
options:
  path:
    description: The virtual environment.
    type: path
    required: true
  python:
    description: The interpreter the environment is made with.
    type: path
    default: /usr/bin/python3
  requirements:
    description:
      - Requirements as pip spells them, each pinned to one version or constrained by O(lock) or O(constraints_url).
    type: list
    elements: str
    required: true
  lock:
    description:
      - Text of a requirements file that pins every package and its hashes. Packages are then refused unless their
        hashes agree.
      - One of O(lock) and O(constraints_url) is required. An Airflow release installed without either does not stay
        working, as its dependencies move on without it.
    type: str
  constraints_url:
    description:
      - Address of a constraints file; C({python}) in it becomes the interpreter's version, such as V(3.11).
      - It is an argument of the installer, which other users can read while it runs, so it is no place for credentials.
    type: str
  installer:
    description:
      - V(uv) installs with a C(uv) of its own, pinned by O(uv_lock).
      - V(pip) installs with the pip of the environment.
    type: str
    choices: [uv, pip]
    default: uv
  uv_path:
    description: Virtual environment in which C(uv) is kept, made when it is needed.
    type: path
    default: /opt/airflow/uv
  uv_lock:
    description: Text of a requirements file that pins C(uv) and its hashes. Required by O(installer=uv).
    type: str
  index_url:
    description:
      - Package index to use in place of the installer's default. It may hold credentials, and is shown nowhere.
    type: str
  extra_index_urls:
    description: Further package indexes. They may hold credentials, and are shown nowhere.
    type: list
    elements: str
    default: []
  find_links:
    description:
      - Directories or pages of packages, such as a wheelhouse on the host. They are searched beside the package index.
      - They are arguments of the installer, which other users can read while it runs, so no place for credentials.
    type: list
    elements: str
    default: []
  cache_dir:
    description: Directory where the installer keeps downloads between builds. The installer's default unless given.
    type: path
  timeout:
    description: Seconds each step of a build may take, and seconds to wait for another build on this host.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Build Airflow 3.3.2 with the drivers of PostgreSQL
  dataops.airflow.airflow_release:
    path: /opt/airflow/releases/3.3.2
    requirements:
      - apache-airflow[celery,postgres]==3.3.2
    lock: "{{ lookup('ansible.builtin.file', 'locks/3.3.2.txt') }}"
    uv_lock: "{{ lookup('ansible.builtin.file', 'locks/uv.txt') }}"
"""

RETURN = r"""
path:
  description: The virtual environment.
  returned: always
  type: str
  sample: /opt/airflow/releases/3.3.2
seconds:
  description: Seconds the build took, from the module's own clock.
  returned: when an environment was built
  type: float
  sample: 21.4
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lock import alone

MARKER = ".complete.json"
PIP_WHEELS = "/usr/share/python-wheels/pip-*.whl"


class Failed(Exception):
    """A step of the build failed."""


class Release:
    """One virtual environment and how it is built."""

    def __init__(self, parameters):
        self.p = parameters
        self.path = parameters["path"]
        self.marker = os.path.join(self.path, MARKER)
        self.lock = None
        self.build_constraints = {}

    def identity(self):
        """What the environment was built from."""
        identity = {name: self.p[name] for name in ("python", "requirements", "installer")}
        if self.p["lock"]:
            identity["lock"] = hashlib.sha256(self.p["lock"].encode()).hexdigest()
        return identity

    def complete(self):
        """Whether the environment is there, whole, and built from what is asked for."""
        try:
            with open(self.marker) as handle:
                found = json.load(handle)
        except (OSError, ValueError):
            return False
        different = [name for name, value in sorted(self.identity().items()) if found.get(name, value) != value]
        if different:
            raise Failed(
                "%s holds an environment built from another %s: %s; a release is immutable: choose another path"
                % (self.path, " and ".join(different), json.dumps(found, sort_keys=True))
            )
        return True

    def build(self):
        """Builds the environment from nothing."""
        vacate(self.path)
        try:
            with tempfile.TemporaryDirectory(prefix="airflow-release-") as scratch:
                if self.p["installer"] == "uv":
                    self._install_with_uv(scratch)
                else:
                    self._install_with_pip(scratch)
        except Failed:
            shutil.rmtree(self.path, ignore_errors=True)
            if not os.path.lexists(self.path):
                os.unlink(begun(self.path))
            raise
        self._seal()

    def _install_with_uv(self, scratch):
        uv = self._uv(scratch)
        self._run([uv, "venv", "--quiet", "--no-python-downloads", "--python", self.p["python"], self.path])
        install = [uv, "pip", "install", "--quiet", "--python", self.path]
        # uv asks the interpreter for a setting of bytecode that came with Python 3.7.
        compiled = self._python_version() != "3.6"
        self._run(install + ["--compile-bytecode"] * compiled + self._wanted(scratch))
        if not compiled:
            self._compile()

    def _install_with_pip(self, scratch):
        self._run([self.p["python"], "-m", "venv", self.path])
        pip = [os.path.join(self.path, "bin", "pip"), "--quiet", "--disable-pip-version-check", "--no-input"]
        if not self.p["lock"]:
            self._run(pip + ["install"] + self._wanted(scratch))
            return
        # pip takes no hashes from constraints: it is asked what it would install, and then given just that with hashes.
        locked = entries(self.p["lock"])
        requirements = self._write(scratch, "requirements.txt", "\n".join(self.p["requirements"]) + "\n")
        pins = "".join(re.sub(r"(\\\n)?\s*--hash=\S+", "", text) for texts in locked.values() for text in texts)
        pinned = self._write(scratch, "pins.txt", pins)
        constraints = ["--constraint", pinned]
        # What comes as source is built with the tools of the same day, which pip takes from the environment alone.
        self.build_constraints = {"PIP_CONSTRAINT": pinned, "PIP_BUILD_CONSTRAINT": pinned}
        report = os.path.join(scratch, "report.json")
        plan = ["install", "--dry-run", "--report", report] + self._links() + constraints
        self._run(pip + plan + ["--requirement", requirements])
        with open(report, encoding="utf-8") as handle:
            names = [canonical(item["metadata"]["name"]) for item in json.load(handle)["install"]]
        missing = [name for name in names if name not in locked]
        if missing:
            raise Failed("the lock does not pin %s" % ", ".join(missing))
        chosen = self._write(scratch, "chosen.txt", "".join(text for name in names for text in locked[name]))
        self._run(pip + ["install", "--no-deps", "--require-hashes"] + self._links() + ["--requirement", chosen])

    def _compile(self):
        """Compiles the bytecode of all packages. Some hold files for another Python, which nothing ever loads."""
        library = os.path.join(self.path, "lib", "python" + self._python_version(), "site-packages")
        with contextlib.suppress(Failed):
            self._run([os.path.join(self.path, "bin", "python"), "-m", "compileall", "-q", "-j", "0", library])

    def _uv(self, scratch):
        """The path of a `uv` of the pinned version, installed if need be."""
        uv = os.path.join(self.p["uv_path"], "bin", "uv")
        lock = self._write(scratch, "uv.txt", self.p["uv_lock"])
        kept = os.path.join(self.p["uv_path"], MARKER)
        try:
            with open(kept) as handle:
                if handle.read() == self.p["uv_lock"] and os.access(uv, os.X_OK):
                    return uv
        except OSError:
            pass
        vacate(self.p["uv_path"])
        # The distribution's own interpreter: it outlives any that the release was pointed at.
        python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else self.p["python"]
        pip = self._pip_for_uv(python, scratch)
        self._run(
            pip
            + ["--quiet", "--disable-pip-version-check", "--no-input"]
            # The lock names all that is wanted.
            + ["install", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
            + self._links()
            + ["--requirement", lock]
        )
        finish(self.p["uv_path"], self.p["uv_lock"])
        return uv

    def _pip_for_uv(self, python, scratch):
        """A pip that installs into the environment of uv, which is made for it."""
        # What venv would install a pip from, on Debian. Unpacked it runs as it is, in half the time.
        wheels = sorted(glob.glob(PIP_WHEELS))
        self._run([python, "-m", "venv"] + ["--without-pip"] * bool(wheels) + [self.p["uv_path"]])
        programs = os.path.join(self.p["uv_path"], "bin")
        if wheels:
            shutil.unpack_archive(wheels[-1], scratch, "zip")
            return [os.path.join(programs, "python"), os.path.join(scratch, "pip")]
        return [os.path.join(programs, "pip")]

    def _wanted(self, scratch):
        """Arguments, common to both installers, that say what to install."""
        requirements = self._write(scratch, "requirements.txt", "\n".join(self.p["requirements"]) + "\n")
        if self.p["lock"]:
            constraints = self._write(scratch, "lock.txt", self.p["lock"])
            # What comes as source is built with the tools of the same day: old packages know nothing of later ones.
            hashes = ["--require-hashes", "--build-constraints", constraints]
        else:
            hashes = []
            constraints = self.p["constraints_url"].replace("{python}", self._python_version())
        return hashes + self._links() + ["--constraint", constraints, "--requirement", requirements]

    def _links(self):
        return [part for link in self.p["find_links"] for part in ("--find-links", link)]

    def _python_version(self):
        program = "import sys; print('%d.%d' % sys.version_info[:2])"
        return self._run([self.p["python"], "-I", "-c", program]).strip()

    def _seal(self):
        """Marks the environment as whole, after everything in it is on disk."""
        os.sync()
        finish(self.path, json.dumps(self.identity(), indent=2, sort_keys=True) + "\n")

    @staticmethod
    def _write(directory, name, content):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(content)
        return path

    def _run(self, argv):
        try:
            finished = subprocess.run(
                argv,
                env=self._environment(),
                # Python's `-m` and uv both look for modules and settings in the directory they start in.
                cwd="/",
                # When the module is killed its installer lives on: the next run has to wait for that one too.
                pass_fds=[self.lock] if self.lock else [],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.p["timeout"],
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed("%s did not end within %s seconds" % (" ".join(argv), self.p["timeout"])) from error
        except OSError as error:
            raise Failed("cannot run %s: %s" % (argv[0], error)) from error
        if finished.returncode:
            output = self._masked((finished.stderr.strip() or finished.stdout.strip())[-4000:])
            raise Failed("%s failed with exit code %s: %s" % (" ".join(argv), finished.returncode, output))
        return finished.stdout

    def _environment(self):
        """The installers read addresses from the environment: in an argument, any local user could read them."""
        environment = dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8", **self.build_constraints)
        prefix = {"uv": "UV_", "pip": "PIP_"}
        for installer in prefix:
            if self.p["index_url"]:
                environment[{"uv": "UV_DEFAULT_INDEX", "pip": "PIP_INDEX_URL"}[installer]] = self.p["index_url"]
            if self.p["extra_index_urls"]:
                name = {"uv": "UV_INDEX", "pip": "PIP_EXTRA_INDEX_URL"}[installer]
                environment[name] = " ".join(self.p["extra_index_urls"])
            if self.p["cache_dir"]:
                environment[prefix[installer] + "CACHE_DIR"] = os.path.join(self.p["cache_dir"], installer)
        if self.p["cache_dir"]:
            environment["UV_LINK_MODE"] = "copy"
        return environment

    def _masked(self, text):
        for url in [self.p["index_url"]] + self.p["extra_index_urls"]:
            password = urlsplit(url or "").password
            # An installer names pages below the address, and may spell the address anew.
            for secret in (url, password, unquote(password or "")):
                if secret:
                    text = text.replace(secret, "********")
        return text


def canonical(name):
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock):
    """What a lock says of each package, by its name: more than once where systems differ."""
    found = {}
    for text in re.findall(r"^[A-Za-z0-9].*(?:\n[ \t]+\S.*)*", lock, re.MULTILINE):
        name = re.match(r"[A-Za-z0-9._-]+", text).group()
        found.setdefault(canonical(name), []).append(text + "\n")
    return found


def begun(path):
    """The file that says that a build of this module's is, or was when it was killed, under way at `path`."""
    return path.rstrip("/") + ".building"


def vacate(path):
    """Makes room for a build, and removes nothing but what an earlier build left."""
    ours = os.path.exists(begun(path)) or os.path.exists(os.path.join(path, MARKER))
    if os.path.lexists(path) and not ours and not (os.path.isdir(path) and not os.listdir(path)):
        raise Failed("%s is there, and no build of this module's: remove it, or choose another path" % path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(begun(path), "w"):
        pass
    if os.path.lexists(path):
        shutil.rmtree(path)


def finish(path, content):
    """Writes the completion marker of a build, so that it is either whole or not there."""
    marker = os.path.join(path, MARKER)
    with open(marker + ".new", "w", encoding="utf-8") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(marker + ".new", marker)
    os.unlink(begun(path))


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", required=True),
            python=dict(type="path", default="/usr/bin/python3"),
            requirements=dict(type="list", elements="str", required=True),
            lock=dict(type="str"),
            constraints_url=dict(type="str"),
            installer=dict(type="str", choices=["uv", "pip"], default="uv"),
            uv_path=dict(type="path", default="/opt/airflow/uv"),
            uv_lock=dict(type="str"),
            index_url=dict(type="str", no_log=True),
            extra_index_urls=dict(type="list", elements="str", default=[], no_log=True),
            find_links=dict(type="list", elements="str", default=[]),
            cache_dir=dict(type="path"),
            timeout=dict(type="int", default=1800),
        ),
        required_one_of=[["lock", "constraints_url"]],
        required_if=[["installer", "uv", ["uv_lock"]]],
        supports_check_mode=True,
    )
    release = Release(module.params)
    started = time.time()
    after = "".join("%s\n" % requirement for requirement in module.params["requirements"])
    result = dict(changed=True, path=release.path, diff=dict(before="", after=after, after_header=release.path))
    try:
        if release.complete():
            module.exit_json(changed=False, path=release.path)
        if module.check_mode:
            module.exit_json(**result)
        os.umask(0o022)
        parent = os.path.dirname(release.path)
        os.makedirs(parent, exist_ok=True)
        with alone(os.path.join(parent, ".lock"), module.params["timeout"]) as release.lock:
            if release.complete():
                module.exit_json(changed=False, path=release.path)
            release.build()
            if not release.complete():
                raise Failed("%s was built, but its marker cannot be read back" % release.path)
    except (Failed, OSError) as error:
        module.fail_json(msg=str(error), path=release.path)
    module.exit_json(seconds=round(time.time() - started, 1), **result)


if __name__ == "__main__":
    main()
