# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A secret kept beside the inventory, generated the first time it is asked for
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Reads the file O(_terms) in O(directory) on the controller. When it is not there, a secret is generated and written,
    readable by its owner alone. A file that was encrypted with C(ansible-vault) is decrypted.
  - In check mode nothing is written, and a missing secret is given a stand-in that no host ever sees.
options:
  _terms:
    description: Names of the secrets. Each is the name of a file.
    required: true
  kind:
    description:
      - V(token) is made of letters and digits, so that it stands for itself in an URL and in a shell.
      - V(fernet) is a key for Airflow's C([core] fernet_key).
    choices: [token, fernet]
    default: token
    type: str
  length:
    description: Characters of a V(token).
    default: 48
    type: int
  directory:
    description:
      - The directory of the files. C(.secrets) beside the inventory by default.
      - A name without the dot would be read as part of the inventory.
    type: path
"""

EXAMPLES = r"""
- name: Group variables of a cluster that keeps its secrets in files
  ansible.builtin.set_fact:
    airflow_fernet_key: "{{ lookup('dataops.airflow.secret', 'fernet_key', kind='fernet') }}"
"""

RETURN = r"""
_list:
  description: The secrets.
  type: list
  elements: str
"""

import base64
import hashlib
import os
import re
import secrets
import stat
import string
import tempfile

from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.plugins.lookup import LookupBase


def generate(kind, length):
    """A new secret."""
    if kind == "fernet":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for position in range(length))


def stand_in(name, kind, length):
    """The same text each time, of the right shape, for a run that must not write."""
    seed = hashlib.sha512(("check mode: " + name).encode()).digest()
    if kind == "fernet":
        return base64.urlsafe_b64encode(seed[:32]).decode()
    return (seed.hex() * (length // 128 + 1))[:length]


def keep(path, secret):
    """Writes the secret unless somebody else just did; returns the one that is kept."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secret + "\n")
            handle.flush()
            os.fsync(descriptor)
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(aside)
    return read(path)


def read(path, decrypt=None):
    """The secret in a file, None when there is no file."""
    try:
        with open(path, encoding="utf-8") as handle:
            secret = handle.read().strip()
            if secret.startswith("$ANSIBLE_VAULT;") and decrypt:
                secret = decrypt(path).strip()
            elif stat.S_IMODE(os.fstat(handle.fileno()).st_mode) & 0o077:
                raise AnsibleLookupError("%s can be read by others: chmod 600 %s" % (path, path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AnsibleError("cannot read the secret %s: %s" % (path, error.strerror)) from error
    except UnicodeDecodeError as error:
        raise AnsibleLookupError("%s is no text" % path) from error
    if not secret:
        raise AnsibleLookupError("%s is empty: write the secret into it, or remove the file" % path)
    return secret


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms, variables=None, **kwargs):
        variables = variables or {}
        self.set_options(var_options=variables, direct=kwargs)
        directory = self.get_option("directory")
        if not directory:
            if not variables.get("inventory_dir"):
                raise AnsibleLookupError("the inventory is not a file: say where the secrets are with directory=")
            directory = os.path.join(variables["inventory_dir"], ".secrets")
        kind, length = self.get_option("kind"), self.get_option("length")
        found = []
        for name in terms:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.startswith("."):
                raise AnsibleLookupError("%r is not the name of a secret" % name)
            path = os.path.join(directory, name)
            secret = read(path, self._loader.get_text_file_contents if self._loader else None)
            if secret is None and variables.get("ansible_check_mode"):
                secret = stand_in(name, kind, length)
            try:
                found.append(secret or keep(path, generate(kind, length)))
            except OSError as error:
                raise AnsibleError("cannot write the secret %s: %s" % (path, error.strerror)) from error
        return found
