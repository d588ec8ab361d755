# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each release gets the names that it knows, whichever name an option was written by."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.dataops.airflow.plugins.module_utils import _releases
from ansible_collections.dataops.airflow.plugins.plugin_utils import _options
from ansible_collections.dataops.airflow.plugins.plugin_utils._deployment import build, options_of
from article import ARTICLE, FATE

ROOT = pathlib.Path(__file__).resolve().parents[4]
SERIES = _releases.supported()
RELEASES = {series: _releases.release(series + ".0") for series in SERIES}
TABLES = {series: _options._table(entry["options"]) for series, entry in RELEASES.items()}
# Every step of every release's own table, as (series, old, new).
RENAMES = [(series, old, new) for series in SERIES for old, new in TABLES[series].RENAMED.items()]
every_series = pytest.mark.parametrize("series", SERIES)


@pytest.mark.parametrize("series, old, new", RENAMES, ids=lambda part: ".".join(part) if len(part) == 2 else part)
def test_what_a_release_renamed(series, old, new):
    """The old name becomes the new one where a release has that one, and stays where it has only this."""
    for other, entry in RELEASES.items():
        found = _options.translate(entry, {old[0]: {old[1]: "v"}})
        if _options.is_known(entry, old):
            assert found == {old[0]: {old[1]: "v"}}, other
        elif _options.is_known(entry, new) and old not in _options._DIFFERENT:
            assert found == {new[0]: {new[1]: "v"}}, other


@every_series
def test_what_a_release_knows_stays_as_it_is(series):
    known = {section: dict.fromkeys(options, "v") for section, options in TABLES[series].OPTIONS.items() if options}
    assert _options.translate(RELEASES[series], known) == known


@pytest.mark.parametrize("old, new", _options._MOVED.items(), ids=".".join)
def test_what_was_moved_without_a_word(old, new):
    having = {name: [series for series in SERIES if _options.is_known(RELEASES[series], name)] for name in (old, new)}
    assert having[old] and having[new], "one of the names is no release's"
    for series in having[old]:
        assert _options.translate(RELEASES[series], {new[0]: {new[1]: 1}}) == {old[0]: {old[1]: 1}} or (
            series in having[new]
        )


@pytest.mark.parametrize("name", _options._INSTEAD, ids=".".join)
def test_what_took_the_place_is_told_where_an_option_is_gone(name):
    gone = [entry for entry in RELEASES.values() if not _options.name_in(entry, name)]
    assert gone and len(gone) < len(RELEASES)
    assert all(_options.instead(entry, name) == _options._INSTEAD[name] for entry in gone)


def test_a_secret_keeps_being_one_under_every_name():
    """A secret of one release is one in all that have the option, by a command or through the environment."""
    for entry in RELEASES.values():
        for section, option in _options.known_options(entry)[1]:
            for other in RELEASES.values():
                name = _options.name_in(other, (section, option))
                assert name is None or name in _options.known_options(other)[1], (other["series"], name)


def test_the_releases_own_name_counts_where_both_are_written():
    options = {"webserver": {"web_server_port": 1}, "api": {"port": 2}}
    assert _options.translate(RELEASES["3.3"], options) == {"api": {"port": 2}}
    assert _options.translate(RELEASES["3.3"], dict(reversed(options.items()))) == {"api": {"port": 2}}
    assert _options.translate(RELEASES["1.10"], options) == {"webserver": {"web_server_port": 1}}


def test_free_sections_and_unknown_options_stay():
    options = {"my_plugin": {"color": "red"}, "core": {"paralelism": 1}}
    assert _options.translate(RELEASES["1.10"], options) == options


@every_series
def test_value_of_today_s_name(series):
    entry = RELEASES[series]
    options = _options.translate(entry, {"logging": {"remote_logging": True}})
    assert _options.value_of(entry, options, "logging", "remote_logging") is True
    assert _options.value_of(entry, options, "logging", "remote_log_conn_id") is None
    assert _options.value_of(RELEASES["1.10"], {}, "api_auth", "jwt_secret") is None


def test_each_key_of_the_article():
    """Verbatim, without sections: each in its section, by the name of the release, or lost with what took its place."""
    assert sorted(FATE) == sorted(ARTICLE)
    for key, fates in FATE.items():
        option = _options._MISSPELT.get(key, key)
        (section,) = _options.sections_of(option)
        for series, entry in RELEASES.items():
            name = _options.name_in(entry, (section, option))
            assert (".".join(name) if name else None) == fates[series], key


@every_series
def test_the_article_s_lines_make_a_deployment(series):
    entry = RELEASES[series]
    base = {"core": {"fernet_key": "k"}, "api": {"port": 8080}, "api_auth": {"jwt_secret": "j"}}
    options = options_of(entry, base, ARTICLE, {}, "/users/airflow/airflow")
    deployment = build(entry, "/r", "/opt/airflow", options, {})
    for key, fates in FATE.items():
        if fates[series] and _options._MISSPELT.get(key, key) not in _options.OWN:
            assert "\n%s = %s\n" % (fates[series].split(".")[1], ARTICLE[key]) in deployment["config"], key
    lost = _options.lost(entry, ARTICLE, "/users/airflow/airflow")
    assert sorted(lost) == sorted(key for key, fates in FATE.items() if not fates[series])
    assert all(lost.values())
    # What the release does not have, and the collection sets for others.
    assert ("jwt_secret" in deployment["config"]) == (series == "3.3")


def test_the_home_is_filled_in():
    options, unplaced = _options.from_flat({"log_config": "[AIRFLOW_HOME]/log.yml", "nonsense": 1}, "/home/a")
    assert options == {"api": {"log_config": "/home/a/log.yml"}}
    assert sorted(unplaced) == ["nonsense"]


def test_secrets_that_no_command_can_give_go_through_the_environment():
    entry = RELEASES["1.10"]
    options = options_of(entry, {"api": {"secret_key": "s3cret"}, "core": {"fernet_key": "k"}}, {}, {}, "/h")
    deployment = build(entry, "/r", "/opt/airflow", options, {})
    assert deployment["secret_environment"] == {"AIRFLOW__WEBSERVER__SECRET_KEY": "s3cret"}
    assert sorted(deployment["secrets"]) == ["core.fernet_key"]
    assert "s3cret" not in deployment["config"] and "secret_key" not in deployment["config"]
    assert "webserver.secret_key" in deployment["fingerprints"]
    other = options_of(entry, {"api": {"secret_key": "another"}, "core": {"fernet_key": "k"}}, {}, {}, "/h")
    assert build(entry, "/r", "/opt/airflow", other, {})["digest"] != deployment["digest"]


@every_series
def test_what_a_release_adds_is_its_own(series):
    entry = RELEASES[series]
    for section, options in entry["base_options"].items():
        assert all(_options.is_known(entry, (section, option)) for option in options)
    assert all(_options.is_known(entry, tuple(pair)) for pair in entry["unreadable_secrets"])


def test_documented():
    """docs/CONFIGURATION.md has a line for each key of the article."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text(encoding="utf-8")
    for key, fates in FATE.items():
        cells = [fates[series] or "" for series in SERIES]
        assert "| `%s` | %s |" % (key, " | ".join("`%s`" % cell if cell else "-" for cell in cells)) in text, key


def test_prod_has_the_article_s_lines():
    inventory = ROOT / "inventories/prod/group_vars/all"
    written = yaml.safe_load((inventory / "airflow.yml").read_text())["airflow_cfg"]
    # What names servers, and is made of database.yml and broker.yml.
    servers = {"sql_alchemy_conn", "result_backend", "broker_url"}
    assert {key: value for key, value in ARTICLE.items() if key not in servers} == written
