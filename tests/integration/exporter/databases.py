# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A metadata database of a release, and the exporter that asks it."""

from __future__ import annotations

import json
import pathlib
import subprocess

from prometheus import ask, free_port, tree, wait
from releases import Release

FACTS = pathlib.Path(__file__).with_name("facts.py")
FERNET_KEY = "mZ4bq0cF4Hn1yBv7Zb6xQe0sJm0cVgQ2y5v0m1oJ0xQ="


class Database:
    """A metadata database with its exporter."""

    def __init__(self, version, server, place):
        self.release = Release(version)
        self.version = version
        self.server = server
        self.name = f"{self.release.facts['series']}-{server.name}"
        self.schema = "airflow_" + self.release.facts["series"].replace(".", "_")
        self.user = self.schema.replace("airflow", "monitor")
        self.port = free_port()
        self.place = place / self.name
        self.place.mkdir()
        self.prometheus = None
        self.process = None

    def migrate(self, drivers):
        self.server.create(self.schema, self.release.facts["mysql_character_set"])
        url = f"{self.server.driver}://airflow:pw@{self.server.address}/{self.schema}"
        self.config = self.place / "airflow.cfg"
        self.drivers = drivers
        self.config.write_text(
            f"[core]\nload_examples = False\nfernet_key = {FERNET_KEY}\nsql_alchemy_conn = {url}\n"
            "logging_level = WARNING\n"
            "auth_manager = airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager\n"
            f"[database]\nsql_alchemy_conn = {url}\n[logging]\nlogging_level = WARNING\n"
        )
        facts = self.release.facts
        self.run(self.release.path / "bin/airflow", *(facts["initial_command"] or facts["database_command"]))

    def run(self, *arguments, **options):
        return self.release.run(
            *arguments, config=self.config, home=self.place, python_path=str(self.drivers), **options
        )

    def put(self, facts):
        """Puts facts in. Returns what the release says of them."""
        return json.loads(self.run(FACTS, text=json.dumps(facts)).splitlines()[-1])

    def sql(self, statements):
        return self.server.sql(statements, self.schema)

    def asks(self, statement):
        """The exit code of a statement of the exporter's user, and what was said."""
        process = self.server.asks(self.user, self.schema)
        said = process.communicate(statement)[0]
        return process.returncode, said

    def start(self, configuration):
        (self.place / "sql_exporter.yml").write_text(configuration)
        self.log = self.place / "exporter.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [
                    tree("prometheus-sql-exporter") / "prometheus-sql-exporter",
                    f"-config.file={self.place}/sql_exporter.yml",
                    f"-web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def samples(self):
        """What Prometheus has of it, as {(name, labels): value}."""
        found = {}
        for series in ask(self.prometheus, f'{{__name__=~"airflow_.+",job="airflow",instance="{self.name}"}}'):
            labels = series["metric"]
            known = {labels.pop("job"), labels.pop("instance")}
            assert known == {"airflow", self.name}
            found[labels.pop("__name__"), frozenset(labels.items())] = float(series["value"][1])
        return found

    def value(self, name, default=None, **labels):
        return self.samples().get((name, frozenset(labels.items())), default)

    def later(self):
        """Waits until the exporter has asked for everything anew."""
        for _round in range(2):
            # All queries of a round have been asked when the first one of the next is.
            before = self.server.now()
            self.asked_since(before)

    def asked_since(self, moment):
        """Waits until the exporter has asked the database after a moment of its clock."""
        wait(lambda: self.value("airflow_database_time_seconds", default=0) > moment, self.log.read_text()[-2000:])

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
