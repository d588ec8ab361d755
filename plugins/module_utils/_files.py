# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Files that are made and removed on a host."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess

# What a module lets be declared of directories and files.
OWNED = dict(path=dict(type="path", required=True), owner=dict(type="str"), group=dict(type="str"))
DIRECTORY = dict(OWNED, mode=dict(type="str", default="0750"))
FILE = dict(
    OWNED,
    content=dict(type="str", required=True),
    mode=dict(type="str", default="0644"),
    validate=dict(type="str"),
)


def discard(path):
    """Removes a file, a link, or a directory with all that is in it; an earlier step may have done it."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def put(path, content, mode, uid, gid):
    """Writes a new file that was never open to more users than in the end. When it returns, the file is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content.encode())
        handle.flush()
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


class Entry:
    """What directories and files have in common: a path, an owner, a group and a mode."""

    # What the entry is, as os.stat tells it, and in words.
    kind, called = None, ""

    def __init__(self, entry, defaults):
        self.path = entry["path"]
        self.owner, self.group = (entry[name] or defaults[name] for name in ("owner", "group"))
        self.mode = int(entry["mode"], 8)
        try:
            self.ids = pwd.getpwnam(self.owner).pw_uid, grp.getgrnam(self.group).gr_gid
        except KeyError:
            # In check mode, what makes them may be a step that has not been taken.
            self.ids = None

    def state(self):
        """What is there: its owner, group and mode, None when nothing is."""
        try:
            found = self.look(self.path)
        except FileNotFoundError:
            return None
        if stat.S_IFMT(found.st_mode) != self.kind:
            raise OSError("it is there, and no %s" % self.called)
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    def look(self, path):
        return os.stat(path)

    def right(self):
        """Whether it is as declared."""
        return self.ids is not None and self.state() == (*self.ids, self.mode)

    def settle(self, check_mode):
        """Makes it what is declared, but in check mode. What the diff shows of that, None when it is right already."""
        if self.right():
            return None
        diff = self.diff()
        if not check_mode:
            self.make()
        return diff

    def make(self):
        """Makes it what is declared."""
        if self.ids is None:
            raise OSError("there is no user %s or no group %s on this host" % (self.owner, self.group))
        self.put()

    def put(self):
        raise NotImplementedError

    def before(self):
        """What is there, as the diff shows it."""
        state = self.state()
        if state is None:
            return ""
        owner = named(pwd.getpwuid, state[0], "pw_name")
        return "%s %s:%s %04o\n" % (self.path, owner, named(grp.getgrgid, state[1], "gr_name"), state[2])

    def after(self):
        """What should be there, as the diff shows it."""
        return "%s %s:%s %04o\n" % (self.path, self.owner, self.group, self.mode)

    def diff(self):
        """What the diff shows, before anything is changed."""
        return dict(before=self.before(), after=self.after(), before_header=self.path, after_header=self.path)


class Directory(Entry):
    """One directory as declared."""

    kind, called = stat.S_IFDIR, "directory"

    def put(self):
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        if not os.path.isdir(self.path):
            # Nobody gets in before it is whose it should be.
            os.mkdir(self.path, 0o700)
        os.chown(self.path, *self.ids)
        os.chmod(self.path, self.mode)


class File(Entry):
    """One file as declared."""

    kind, called = stat.S_IFREG, "file"

    def __init__(self, entry, defaults):
        super().__init__(entry, defaults)
        self.content = entry["content"]
        self.validate = entry["validate"]

    def look(self, path):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise FileNotFoundError(path)
        return found

    def text(self):
        """What is in the file that is there, nothing when none is."""
        if self.state() is None:
            return ""
        with open(self.path, "rb") as handle:
            return handle.read().decode(errors="replace")

    def right(self):
        return super().right() and self.text() == self.content

    def put(self):
        new = self.path + ".new"
        discard(new)
        put(new, self.content, self.mode, *self.ids)
        if self.validate:
            self.prove(new)
        os.replace(new, self.path)

    def prove(self, path):
        """Has a program look at the file, and removes it if that refuses it."""
        command = [word.replace("%s", path) for word in shlex.split(self.validate)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            os.unlink(path)
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise OSError("%s refuses it with exit code %d: %s" % (command[0], done.returncode, said))

    def before(self):
        return super().before() + self.text()

    def after(self):
        return super().after() + self.content


def named(look_up, number, attribute):
    """The name of a user or a group, or its number when it has none."""
    try:
        return getattr(look_up(number), attribute)
    except KeyError:
        return str(number)
