# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each supported Airflow itself reads what the collection writes, and has the options that the tables say."""

from __future__ import annotations

import importlib
import json
import pathlib

from ansible_collections.dataops.airflow.plugins.plugin_utils import _deployment, _options
from ansible_collections.dataops.airflow.plugins.plugin_utils._deployment import build, options_of
from article import ARTICLE, FATE

READ = """
import json, sys
from airflow.configuration import conf
try:
    # As every component does first, so that the options of providers are known.
    from airflow.providers_manager import ProvidersManager
    ProvidersManager().initialize_providers_configuration()
except ImportError:
    pass
print(json.dumps([conf.get(section, option) for section, option in json.load(sys.stdin)]))
"""
OPTIONS = pathlib.Path(__file__).resolve().parents[3] / "bench/options.py"
# Lines that name servers.
SERVERS = ("sql_alchemy_conn", "result_backend", "broker_url")
# What the roles set of their own, in today's names.
SECRETS = {
    "core": {"fernet_key": "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ="},
    "database": {"sql_alchemy_conn": "postgresql+psycopg2://airflow:p%40ss%%w@db1:5432/airflow"},
    "celery": {"broker_url": "redis://:br0ker@broker1:6379/0", "result_backend": "db+postgresql://a:b@db1/airflow"},
}


def deploy(facts, options, directory):
    """Writes a deployment as the module does, and returns the path of its airflow.cfg."""
    deployment = build(facts, "/release", str(directory), options, {})
    path = pathlib.Path(deployment["path"])
    (path / "secrets").mkdir(parents=True)
    (path / "airflow.cfg").write_text(deployment["config"])
    for name, value in deployment["secrets"].items():
        (path / "secrets" / name).write_text(value)
    return path / "airflow.cfg"


def read(installed, config, home, names):
    """What the release reads of these options."""
    output = installed.run("-W", "ignore", "-c", READ, config=config, home=home, text=json.dumps(names))
    return json.loads(output.splitlines()[-1])


def test_the_release_reads_each_value_of_the_article(installed, tmp_path):
    series, home = installed.facts["series"], "/users/airflow/airflow"
    lines = {key: value for key, value in ARTICLE.items() if FATE[key][series] and key not in SERVERS}
    wanted = {
        tuple(FATE[key][series].split(".")): str(value).replace("[AIRFLOW_HOME]", home) for key, value in lines.items()
    }
    # Those that are variables of the roles come as the collection's own options.
    base = {}
    for (section, name), value in wanted.items():
        if name in _options.OWN or section == "api" and name == "port":
            base.setdefault(section, {})[name] = value
    options = options_of(installed.facts, _deployment.merge(SECRETS, base), ARTICLE, {}, home)
    config = deploy(installed.facts, options, tmp_path)
    assert dict(zip(wanted, read(installed, config, tmp_path, list(wanted)))) == wanted


def test_the_release_reads_its_secrets(installed, tmp_path):
    options = options_of(installed.facts, SECRETS, {}, {}, "/h")
    config = deploy(installed.facts, options, tmp_path)
    wanted = {
        _options.name_in(installed.facts, (section, name)): value
        for section, content in SECRETS.items()
        for name, value in content.items()
    }
    assert all(value not in config.read_text() for value in wanted.values())
    assert dict(zip(wanted, read(installed, config, tmp_path, list(wanted)))) == wanted


def test_the_table_of_options_is_the_release_s_own(installed, tmp_path):
    """Else: bench/options.py writes it anew."""
    text = installed.run("-W", "ignore", str(OPTIONS), config=tmp_path / "none.cfg", home=tmp_path)
    namespace = {}
    exec(compile(text, "options", "exec"), namespace)
    table = importlib.import_module(_options.__package__ + "." + installed.facts["options"])
    assert namespace["OPTIONS"] == table.OPTIONS
    assert namespace["SENSITIVE"] == table.SENSITIVE
    assert namespace["RENAMED"] == table.RENAMED
