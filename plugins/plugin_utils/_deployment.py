# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Turns variables into the content of a deployment, on the controller and from nothing but the inventory."""

from __future__ import annotations

import hashlib
import hmac
import json
import pathlib
import re
import shlex

from ._options import from_flat, known_options, only_known, translate

DIGEST_LENGTH = 12
AWAIT_API = pathlib.Path(__file__).with_name("_await_api.py").read_text(encoding="utf-8")


class InvalidOptions(ValueError):
    """The declared options cannot make a configuration."""


def digest(content):
    """The short name of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def as_text(value):
    """An option's value as airflow.cfg spells it."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    return str(value)


def escape(text):
    """Airflow's parser expands %, and continues a value on indented lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[1:]:
        if line.strip().startswith(("#", ";")):
            raise InvalidOptions("a line of a value begins with %s: airflow.cfg has comments there" % line.strip()[0])
    return text.replace("%", "%%").replace("\n", "\n    ")


def merge(*layers):
    """Sections of options, later layers over earlier; a value of None takes the option out."""
    merged = {}
    for layer in layers:
        for section, options in (layer or {}).items():
            merged.setdefault(section, {}).update(options or {})
    return {
        section: {name: value for name, value in options.items() if value is not None}
        for section, options in merged.items()
        if any(value is not None for value in options.values())
    }


def options_of(release, base, flat, declared, home):
    """All options of a cluster: the collection's own, those of the flat keys, and those declared, later over earlier.

    What a release does not have is left out where the user did not write it in this form.
    """
    imported = only_known(release, translate(release, from_flat(flat, home)[0]))
    base = only_known(release, translate(release, with_async_address(release, base)))
    return merge(base, release["base_options"], imported, translate(release, declared))


def with_async_address(release, options):
    """The options with the database's address for asynchronous connections where Airflow would make a wrong one.

    It makes it of the other address with a driver that does not know PostgreSQL's parameters of TLS.
    """
    url = options.get("database", {}).get("sql_alchemy_conn") or ""
    driver = release["async_drivers"].get("postgresql")
    if not driver or not re.match(r"postgres.*[?&]sslmode=", url):
        return options
    return merge(options, {"database": {"sql_alchemy_conn_async": re.sub("^postgres[^:]*", driver, url)}})


def split_secrets(release, options):
    """Parts options into what airflow.cfg may show and what only the Airflow user may read."""
    sensitive = known_options(release)[1]
    public, secret = {}, {}
    for section, content in options.items():
        for name, value in content.items():
            if not re.fullmatch(r"[a-z0-9_.-]+", name):
                # The parser reads any case: a secret under another spelling of its name would be shown.
                raise InvalidOptions("[%s] %s: the name of an option is made of a-z, 0-9, _, . and -" % (section, name))
            side = secret if (section, name) in sensitive else public
            side.setdefault(section, {})[name] = as_text(value)
    return public, secret


def fingerprints(secrets, key):
    """A keyed hash of each secret: it tells that one changed, and nothing about it to who lacks the key."""
    return {
        name: hmac.new(key.encode(), (name + "\0" + value).encode(), hashlib.sha256).hexdigest()[:DIGEST_LENGTH]
        for name, value in sorted(secrets.items())
    }


def command(path, name, copied):
    """Prints a secret; where its process may not read it, by a command that knows the process's copy of them."""
    path = shlex.quote(path)
    if not copied:
        return "cat " + path
    script = '[ -r %s ] || [ -z "$AIRFLOW_COPIED" ] || exec $AIRFLOW_COPIED %s; exec cat %s' % (path, name, path)
    return "sh -c " + shlex.quote(script)


def render(public, secrets, path, unreadable=(), copied=False):
    """The text of airflow.cfg of the deployment at `path`, without the secrets that no command can give.

    Values may name the deployment's directory as @deployment@. `copied`: other users' processes have a copy of all.
    """
    lines = ["# Written by the Ansible collection dataops.airflow: changes made here are lost."]
    for section in sorted(set(public) | set(secrets)):
        content = {name: escape(value.replace("@deployment@", path)) for name, value in public.get(section, {}).items()}
        for name in secrets.get(section, {}):
            if (section, name) in unreadable:
                continue
            full = "%s.%s" % (section, name)
            content[name + "_cmd"] = escape(command("%s/secrets/%s" % (path, full), full, copied))
        if content:
            lines += ["", "[%s]" % section] + ["%s = %s" % item for item in sorted(content.items())]
    return "\n".join(lines) + "\n"


def build(release, release_path, root, options, environment, files=None, secret_files=None):
    """The deployment that `options` and `environment` make of the release installed at `release_path`.

    `files` has texts beside airflow.cfg, which are shown in diffs as it is; `secret_files` those beside the secrets.
    """
    public, secret = split_secrets(release, options)
    unreadable = {tuple(pair) for pair in release["unreadable_secrets"]}
    secrets = {
        "%s.%s" % (section, name): value for section, content in secret.items() for name, value in content.items()
    }
    secrets.update(secret_files or {})
    # All together where there is no key among them: a hash keyed by nothing would tell a weak password.
    key = secrets.get("core.fernet_key") or json.dumps(secrets, sort_keys=True)
    prints = fingerprints(secrets, key)
    environment = {name: str(value) for name, value in sorted((environment or {}).items())}
    copied = release["copies_configuration"]
    text = render(public, secret, "", unreadable, copied)
    files = dict(files or {}, **({"await_api.py": AWAIT_API} if release["tasks_ask_api"] else {}))
    name = digest([release_path, text, environment, prints] + [files] * bool(files))
    path = "%s/deployments/%s" % (root, name)
    return {
        "digest": name,
        "path": path,
        "config_path": path + "/airflow.cfg",
        "release": release_path,
        "version": release["version"],
        "config": render(public, secret, path, unreadable, copied),
        "environment": environment,
        "files": files,
        "fingerprints": prints,
        "secrets": {name: value for name, value in secrets.items() if tuple(name.split(".", 1)) not in unreadable},
        "secret_environment": {
            "AIRFLOW__%s" % name.replace(".", "__", 1).upper(): value
            for name, value in secrets.items()
            if tuple(name.split(".", 1)) in unreadable
        },
    }


def outline(deployment):
    """What others need to know of a deployment, without what is in it."""
    known = {name: deployment[name] for name in ("digest", "path", "config_path", "release")}
    return dict(known, secret_environment=bool(deployment["secret_environment"]))
