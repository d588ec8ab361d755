# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release table against the files of the collection."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.dataops.airflow.plugins.module_utils import _releases
from ansible_collections.dataops.airflow.plugins.module_utils._health import HEALTH_ARGUMENTS
from ansible_collections.dataops.airflow.plugins.plugin_utils._options import known_options, name_in

ROOT = pathlib.Path(__file__).resolve().parents[4]
LOCKS = ROOT / "roles/airflow_install/files/locks"
VERSIONS = sorted(path.stem for path in LOCKS.glob("[0-9]*.txt"))
ENTRIES = [_releases.release(series + ".0") for series in _releases.supported()]
COMPONENTS = [(entry["series"], key, value) for entry in ENTRIES for key, value in entry["components"].items()]
series = pytest.mark.parametrize("entry", ENTRIES, ids=_releases.supported())
component = pytest.mark.parametrize("series, key, value", COMPONENTS, ids=[" ".join(each[:2]) for each in COMPONENTS])


@pytest.mark.parametrize("version", ["3.3.2", "3.3.10", "3.3.0"])
def test_known_versions(version):
    found = _releases.release(version)
    assert (found["version"], found["series"]) == (version, "3.3")
    found["version"] = "spoilt"
    assert _releases.release(version)["version"] == version


@pytest.mark.parametrize("version", ["3.3", "3", "", None, "3.3.2\n", "3.3.2rc1", "v3.3.2", "latest", 3.3, "٣.٣.٢"])
def test_what_is_no_version(version):
    with pytest.raises(_releases.UnknownRelease, match="is not a full Airflow version such as 3.3.2"):
        _releases.release(version)


@pytest.mark.parametrize("version", ["3.30.1", "33.3.1", "2.99.0", "0.0.0"])
def test_unsupported_versions(version):
    with pytest.raises(_releases.UnknownRelease, match="supported are: .*3.3"):
        _releases.release(version)


@component
def test_components(series, key, value):
    assert re.fullmatch(r"airflow-[a-z-]+", value["unit"])
    assert value["on"] in ("master", "worker")
    assert value["health"] in HEALTH_ARGUMENTS["kind"]["choices"]
    assert bool(value.get("job_type")) == (value["health"] == "job")
    assert bool(value.get("health_path")) == (value["health"] == "api")
    assert value["command"] and all(re.fullmatch(r"[a-z-]+", word) for word in value["command"])
    assert isinstance(value["single"], bool) and isinstance(value["runs_user_code"], bool)
    assert value.get("runs_tasks_with") in (None, "CeleryExecutor", "LocalExecutor")


@series
def test_units_have_the_names_operators_expect(entry):
    names = {key: (value["unit"], value.get("alias")) for key, value in entry["components"].items()}
    expected = {"scheduler": ("airflow-scheduler", None), "worker": ("airflow-worker", None)}
    if entry["series"].startswith("3."):
        expected["webserver"] = ("airflow-api-server", "airflow-webserver")
        expected["dag_processor"] = ("airflow-dag-processor", None)
        expected["triggerer"] = ("airflow-triggerer", None)
    else:
        expected["webserver"] = ("airflow-webserver", None)
    assert {key: names[key] for key in expected} == expected
    taken = [name for pair in names.values() for name in pair if name]
    assert len(taken) == len(set(taken))


@series
def test_shared_secrets_are_sensitive_options(entry):
    known, sensitive = known_options(entry)
    for section, option in entry["secrets"].values():
        assert (section, option) in sensitive
    assert {section: option for section, option in sensitive if option not in known.get(section, {})} == {}


@series
def test_what_holds_passwords_is_sensitive(entry):
    sensitive = known_options(entry)[1]
    for pair in [
        name_in(entry, ("database", "sql_alchemy_conn")),
        ("celery", "broker_url"),
        ("celery", "result_backend"),
        ("core", "fernet_key"),
    ]:
        assert pair in sensitive


@series
def test_options_that_look_like_secrets_are_sensitive(entry):
    harmless = {
        # Names of secrets in Kubernetes.
        ("kubernetes", "env_from_secret_ref"),
        ("kubernetes", "git_ssh_key_secret_name"),
        ("kubernetes", "git_sync_credentials_secret"),
        ("kubernetes", "image_pull_secrets"),
        # Names of files, of classes and of limits.
        ("api_auth", "jwt_private_key_path"),
        ("core", "simple_auth_manager_passwords_file"),
        ("logging", "min_length_masked_secret"),
        ("logging", "secret_mask_adapter"),
        ("workers", "secrets_backend"),
    }
    known, sensitive = known_options(entry)
    looks = {
        (section, option)
        for section, options in known.items()
        for option in options
        if re.search(r"passw|secret|_dsn$|fernet", option)
    }
    assert looks - sensitive - harmless == set()


# Base options that a series has by no name, as it has not what they are for.
WITHOUT = {
    "1.10": {
        "api_auth.jwt_secret",
        "core.auth_manager",
        "core.execution_api_server_url",
        "dag_processor.dag_bundle_config_list",
        "fab.config_file",
        "scheduler.enable_health_check",
    },
    "2.11": {
        "api_auth.jwt_secret",
        "core.execution_api_server_url",
        "dag_processor.dag_bundle_config_list",
    },
    "3.3": set(),
}


@series
def test_base_options_are_known(entry):
    variables = yaml.safe_load((ROOT / "roles/airflow/vars/main.yml").read_text())
    unknown = {
        f"{section}.{option}"
        for some in ("base", "celery", "kubernetes", "statsd")
        for section, options in variables["_airflow_%s_options" % some].items()
        for option in options
        if not name_in(entry, (section, option))
    }
    assert unknown == WITHOUT[entry["series"]]


def test_default_version_has_a_lock():
    defaults = yaml.safe_load((ROOT / "roles/airflow/defaults/main.yml").read_text())
    assert defaults["airflow_version"] in VERSIONS
    assert (LOCKS / "uv.txt").is_file()


def entries(path):
    """Each requirement of a lock, with its hashes."""
    joined = re.sub(r"\\\n\s*", "", path.read_text())
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", [*VERSIONS, "uv"])
def test_locks_pin_and_hash_everything_and_name_no_index(name):
    lines = entries(LOCKS / f"{name}.txt")
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line), line
    text = (LOCKS / f"{name}.txt").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_locks_hold_what_a_release_installs(version):
    entry = _releases.release(version)
    pinned = dict(
        re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line).groups() for line in entries(LOCKS / f"{version}.txt")
    )
    assert pinned[entry["package"]] == version
    assert "statsd" in pinned
    extras = {extra for extras in entry["extras"].values() for extra in extras} - {"statsd"}
    if entry["series"] == "1.10":
        needed = {"boto3", "celery", "cryptography", "flask-bcrypt", "mysqlclient", "psycopg2-binary", "redis"}
    else:
        needed = {f"apache-airflow-providers-{extra}" for extra in extras}
    assert needed <= set(pinned)
