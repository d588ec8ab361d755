#!/usr/bin/python
# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_connections
short_description: Manage the connections of Airflow
version_added: 1.0.0
author:
  - dataops.airflow contributors (!UNKNOWN)
description:
  - Compares the declared connections with those in the metadata database, and creates, changes and deletes them.
  - It uses the database driver and the Fernet key of the release and does not import Airflow. All connections are read
    by one process, and all changes are one transaction.
  - Connections that are not listed are left alone.
  - What an older release has no place for, such as a description, is left out with a warning.
extends_documentation_fragment:
  - dataops.airflow.release
attributes:
  check_mode:
    description:
      - Says what would change, without changing it.
      - Without a release, a database or its tables, as on a bare host, every connection would be created.
    support: full
  diff_mode:
    description:
      - Shows each connection before and after. Password and extra show only as C(set), C(changed) or C(removed).
    support: full
requirements:
  - The tables of Airflow in the metadata database, see M(dataops.airflow.airflow_db).
options:
  connections:
    description: The connections. Each is declared by O(connections[].uri), or by its parts.
    type: list
    elements: dict
    required: true
    suboptions:
      conn_id:
        description: Name of the connection.
        type: str
        required: true
      uri:
        description:
          - The whole connection as Airflow writes it, such as C(postgres://login:password@host:5432/schema?key=value).
          - What is not in it is removed, except the description.
        type: str
      conn_type:
        description:
          - Type of the connection. A C(-) in it becomes C(_), and C(postgresql) becomes C(postgres), as where Airflow
            itself reads a declared connection.
          - Needed to create the connection. Left as it is if omitted.
        type: str
      host:
        description: Host. Left as it is if omitted, removed by an empty text.
        type: str
      login:
        description: Login. Left as it is if omitted, removed by an empty text.
        type: str
      password:
        description:
          - Password. Left as it is if omitted, removed by an empty text.
          - One in the database that the Fernet key does not fit is written again.
        type: str
      schema:
        description: Schema, for many types the name of a database. Left as it is if omitted, removed by an empty text.
        type: str
      port:
        description: Port. Left as it is if omitted, removed by V(0).
        type: int
      extra:
        description:
          - All else, as a dictionary or as the text of one in JSON. It counts as a secret as a whole.
          - Neither the order of its keys nor white space makes a difference.
          - Left as it is if omitted, removed by an empty text.
          - One in the database that the Fernet key does not fit is written again.
        type: raw
      description:
        description: What it is for. Left as it is if omitted.
        type: str
      state:
        description: Whether the connection exists.
        type: str
        choices: [present, absent]
        default: present
  timeout:
    description: How long each program of the release may run, in seconds.
    type: int
    default: 300
seealso:
  - module: dataops.airflow.airflow_db
"""

EXAMPLES = r"""
- name: Declare the connections
  dataops.airflow.airflow_connections:
    venv: /opt/airflow/releases/0c1d2e3f
    home: /var/lib/airflow
    config: /opt/airflow/deployments/4f2a9c31/airflow.cfg
    connections:
      - conn_id: warehouse
        conn_type: postgres
        host: warehouse.example.com
        login: airflow
        password: "{{ vault_warehouse_password }}"
        schema: facts
        extra:
          sslmode: verify-full
      - conn_id: weather
        uri: "https://token:{{ vault_weather_token | urlencode }}@api.example.com"
      - conn_id: former
        state: absent
  run_once: true
"""

RETURN = r"""
connections:
  description: What was done to each connection, or would be, by conn_id.
  returned: success
  type: dict
  contains:
    action:
      description: V(created), V(updated), V(deleted) or V(unchanged).
      type: str
      sample: updated
    fields:
      description: What changed of a connection that was updated. Never a secret itself.
      type: list
      elements: str
      sample: [host, password]
  sample:
    warehouse:
      action: updated
      fields: [host, password]
"""

import json
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._objects import STATE, Rows, text
from ..module_utils._runner import RUNNER_ARGUMENTS

# Airflow's own rule. Its models leave out a name that is against it, without a word.
NAME = re.compile(r"[\w#!()\-.:/\\]+")
PARTS = ["conn_type", "host", "login", "password", "schema", "port", "extra"]


def number(value):
    return value or None


def conn_type(value):
    """The type as Airflow looks it up."""
    return "postgres" if value == "postgresql" else value.replace("-", "_")


def parse_uri(uri):
    """The parts of a connection by the rules of Airflow. ValueError tells what is wrong, without any of the URI."""
    protocols = uri.count("://")
    if protocols not in (1, 2):
        raise ValueError("it is not of the form type://login:password@host:port/schema?extra")
    scheme = re.match(r"(?:([a-zA-Z][a-zA-Z0-9+.-]*):)?", uri).group(1)
    if not scheme:
        raise ValueError("it does not begin with a type that is made of letters, digits and -")
    scheme = scheme.lower()
    rest = uri.replace(scheme + "://", "" if protocols == 2 else "//")
    if protocols == 2 and re.search("[@:]", rest.split("://", 1)[0]):
        raise ValueError("before the second :// there can only be a protocol")
    try:
        found = urlsplit(rest)
        port = found.port
    except ValueError:
        raise ValueError(
            "its host or port is not valid: is there a ':', '/' or '@' that needs to be written as %3A, %2F or %40?"
        ) from None
    host = unquote(found.hostname or "")
    if "/" in host:
        # A path to a socket, whose case matters.
        host = unquote(found.netloc.rsplit("@", 1)[-1].split(":", 1)[0])
    if host and protocols == 2:
        host = f"{found.scheme}://{host}"
    return dict(
        conn_type=scheme,
        host=host,
        login=unquote(found.username or ""),
        password=unquote(found.password or ""),
        schema=unquote(found.path[1:]),
        port=port or 0,
        extra=parse_query(found.query),
    )


def parse_query(query):
    """The extra that is in the query of a URI: each value is JSON where it can be; `__extra__` is all in one."""
    found = dict(parse_qsl(query, keep_blank_values=True))
    if "__extra__" in found:
        return found["__extra__"]
    for key, value in found.items():
        try:
            found[key] = json.loads(value) if value else value
        except ValueError:
            pass
    return found or ""


class Connections(Rows):
    """The declared connections, and what the database holds of them."""

    option = "connections"
    key = "conn_id"
    table = "connection"
    column = "conn_id"
    fields = dict(conn_type=text, host=text, login=text, schema=text, port=number, description=text)
    secrets = dict(password=("password", "is_encrypted"), extra=("extra", "is_extra_encrypted"))
    needed = ["conn_type"]

    def check(self, item):
        if not NAME.fullmatch(item["conn_id"]):
            self.refuse(item, "the name may have letters, digits and # ! ( ) - _ . : / \\")
        if item["state"] == "absent":
            return
        mixed = [part for part in PARTS if item[part] is not None]
        if item["uri"] is not None and mixed:
            self.refuse(item, f"uri says all, so it cannot be together with {', '.join(mixed)}")
        if item["conn_type"] is not None and not item["conn_type"].strip():
            self.refuse(item, "conn_type is empty")
        if item["port"] is not None and not 0 <= item["port"] <= 65535:
            self.refuse(item, f"port is {item['port']}; it has to be between 1 and 65535, or 0 for none")

    def prepare(self, item):
        if item["uri"] is not None:
            self.secret(item["uri"])
            try:
                item.update(parse_uri(item["uri"]))
            except ValueError as error:
                self.refuse(item, f"uri: {error}")
        if item["conn_type"] is not None:
            item["conn_type"] = conn_type(item["conn_type"])
        if item["password"] is not None:
            item["password"] = self.secret(item["password"])
        if item["extra"] is not None:
            item["extra"] = self.extra(item)

    def extra(self, item):
        value = item["extra"]
        if value == "":
            return self.secret("")
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.refuse(item, "extra is not a dictionary, nor one in JSON")
        return self.secret(value if isinstance(value, str) else json.dumps(value), as_json=True)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            RUNNER_ARGUMENTS,
            connections=dict(
                type="list",
                elements="dict",
                required=True,
                no_log=True,
                options=dict(
                    conn_id=dict(type="str", required=True),
                    uri=dict(type="str", no_log=True),
                    conn_type=dict(type="str"),
                    host=dict(type="str"),
                    login=dict(type="str"),
                    password=dict(type="str", no_log=True),
                    schema=dict(type="str"),
                    port=dict(type="int"),
                    extra=dict(type="raw", no_log=True),
                    description=dict(type="str"),
                    state=STATE,
                ),
            ),
            timeout=dict(type="int", default=300),
        ),
        supports_check_mode=True,
    )
    Connections(module).work()


if __name__ == "__main__":
    main()
