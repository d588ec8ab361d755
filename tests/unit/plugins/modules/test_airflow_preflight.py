# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second gate on this very machine, with servers that speak, or do not speak, TLS as databases and brokers do."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.dataops.airflow.plugins.modules import airflow_preflight
from certificates import certificate
from cryptography import x509
from refusals import refused

HERE = "%d.%d" % sys.version_info[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An authority, another one, and certificates for this machine and for others."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = certificate(folder, "ca")
    certificate(folder, "other")
    here = [x509.DNSName("localhost")]
    certificate(folder, "good", authority, here)
    certificate(folder, "address", authority, [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate(folder, "elsewhere", authority, [x509.DNSName("db9")])
    certificate(folder, "expired", authority, here, days=-1)
    return folder


def greet_postgresql(connection):
    request = connection.recv(8)
    assert request in (b"", struct.pack("!ii", 8, 80877103))
    connection.sendall(b"S")


def greet_mysql(connection, flags=0xFFFF):
    greeting = (
        b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"saltsalt\0" + struct.pack("<H", flags) + b"\xff\2\0" + b"\0" * 31
    )
    connection.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
    if flags & 0x800:
        packet = connection.recv(36)
        assert packet[:4] == b"\x20\0\0\1" and struct.unpack_from("<I", packet, 4)[0] & 0x800


GREET = {"postgresql": greet_postgresql, "mysql": greet_mysql, "redis": lambda connection: None}


@pytest.fixture
def serve(folder):
    """Starts a server of a kind with a certificate, or one that answers as it is told; returns its port."""
    listeners = []

    def start(kind, name="good", answer=None):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection:
                    try:
                        if answer:
                            answer(connection)
                            continue
                        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
                        GREET[kind](connection)
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def told(tmp_path):
    """What the module says of this machine, with nothing wrong unless a test asks for it."""

    def run(states=None, **options):
        arguments = {
            "systems": ["debian 12"],
            "python": sys.executable,
            "python_versions": [HERE],
            "path": str(tmp_path / "opt"),
            "release": str(tmp_path),
        }
        arguments.update(options)
        outcome = {}

        def keep(_module, **result):
            outcome.update(result)
            raise SystemExit

        with pytest.MonkeyPatch.context() as patch, patch_module_args(arguments):
            patch.setattr(basic.AnsibleModule, "exit_json", keep)
            patch.setattr(airflow_preflight, "system", lambda: ("debian", "12"))
            patch.setattr(
                os.path, "isdir", lambda path, real=os.path.isdir: path == "/run/systemd/system" or real(path)
            )
            patch.setattr(airflow_preflight, "show", lambda units: states or {})
            with pytest.raises(SystemExit):
                airflow_preflight.main()
        assert outcome["changed"] is False
        return outcome

    return run


@pytest.fixture
def look(told):
    """What the module finds wrong."""
    return lambda **options: told(**options)["problems"]


def server(port, kind="redis", host="localhost", **more):
    prefix = "airflow_broker" if kind == "redis" else "airflow_database"
    return dict({"host": host, "port": port, "variable": prefix + "_host", "kind": kind}, **more)


def authority(folder, name="ca", tls="name", prefix="airflow_broker"):
    return {"tls": tls, "ca_file": str(folder / name), "ca_variable": prefix + "_ca_file"}


def test_nothing_is_wrong_here(look):
    assert look(controller_time=time.time(), connect=[], resolve=["localhost"]) == []


@pytest.mark.parametrize("kind", sorted(GREET))
@pytest.mark.parametrize("tls", ["encrypt", "authority", "name"])
def test_tls_that_is_right(look, serve, folder, kind, tls):
    assert look(connect=[server(serve(kind), kind, **authority(folder, "ca.crt", tls))]) == []


def test_tls_to_an_address(look, serve, folder):
    wanted = authority(folder, "ca.crt")
    assert look(connect=[server(serve("redis", "address"), host="127.0.0.1", **wanted)]) == []
    found = look(connect=[server(serve("redis", "good"), host="127.0.0.1", **wanted)])
    assert len(found) == 1 and "is for another name" in found[0]


@pytest.mark.parametrize("kind", sorted(GREET))
def test_certificates_that_are_wrong(look, serve, folder, kind):
    wanted = authority(folder, "ca.crt")
    found = look(connect=[server(serve(kind, "elsewhere"), kind, **wanted)])
    assert len(found) == 1 and "is for another name: use one that it is for" in found[0]
    # Who verifies the authority alone does not mind the name, and who verifies nothing does not mind the authority.
    assert look(connect=[server(serve(kind, "elsewhere"), kind, **{**wanted, "tls": "authority"})]) == []
    assert look(connect=[server(serve(kind, "other"), kind, **{**wanted, "tls": "encrypt"})]) == []
    found = look(connect=[server(serve(kind), kind, **authority(folder, "other.crt"))])
    assert len(found) == 1 and f"is not signed by {folder}/other.crt" in found[0]
    found = look(connect=[server(serve(kind), kind, **{**wanted, "ca_file": ""})])
    assert len(found) == 1 and "is not signed by an authority that this system trusts" in found[0]


def test_a_certificate_out_of_date(look, serve, folder):
    found = look(connect=[server(serve("redis", "expired"), **authority(folder, "ca.crt"))])
    assert refused("b-certificate-date", found[0].replace("localhost", "broker1"))


def test_files_of_authorities_that_are_wrong(look, serve, folder):
    port = serve("postgresql")
    found = look(connect=[server(port, "postgresql", **authority(folder, "none.crt", prefix="airflow_database"))])
    assert refused("b-authority-missing", found[0].replace(str(folder), "/etc/ssl/servers"))
    (folder / "hostname").write_text("m1\n")
    found = look(connect=[server(port, "postgresql", **authority(folder, "hostname", prefix="airflow_database"))])
    assert refused("b-authority-empty", found[0].replace(str(folder), "/etc"))


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("postgresql", lambda connection: connection.recv(8) and connection.sendall(b"N"), "it refused"),
        ("postgresql", lambda connection: connection.recv(8), "it ended the connection"),
        ("mysql", lambda connection: greet_mysql(connection, 0xF7FF), "it does not offer it"),
        ("mysql", lambda connection: connection.sendall(b"\x0b\0\0\0\xff\x69\x04blocked!"), "blocked!"),
        ("mysql", lambda connection: connection.sendall(b"\x03\0\0\0abc"), ""),
        ("mysql", lambda connection: connection.sendall(b"\0\0\0\0"), ""),
        ("redis", lambda connection: connection.recv(999) and connection.sendall(b"-ERR unknown command\r\n"), ""),
        ("redis", lambda connection: connection.recv(999) and time.sleep(3), ""),
        ("redis", lambda connection: connection.close(), ""),
    ],
)
def test_a_server_without_tls(look, serve, folder, kind, answer, words):
    port = serve(kind, answer=answer)
    found = look(connect=[server(port, kind, **authority(folder, "ca.crt"))], timeout=1)
    assert len(found) == 1
    assert f"_host: localhost port {port} speaks no TLS ({words}" in found[0]
    assert found[0].endswith("turn it on there, name the port that does, or empty airflow_broker_ca_file")


def test_servers_that_do_not_answer(look):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    found = look(connect=[server(port), server(port, host="db.nowhere.invalid")], resolve=["w1.nowhere.invalid"])
    assert refused("b-name-of-host", found[0])
    assert refused("b-closed", found[1].replace("localhost", "broker1").replace(str(port), "6399"))
    assert refused("b-name-of-server", found[2].replace("airflow_broker_host", "airflow_database_host"))


def test_names_that_workers_give_themselves(look):
    assert look(own_names=[airflow_preflight.own_name(), "localhost"]) == []
    assert refused("b-own-name", look(own_names=["w1.nowhere.invalid"])[0])


def test_a_port_that_a_stranger_has(look):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        found = look(ports=[{"port": port, "unit": "airflow-api-server", "variable": "airflow_webserver_port"}])
        with open("/proc/self/comm") as handle:
            command = handle.read().strip()
        assert refused("b-port-taken", found[0].replace(str(port), "5432").replace(command, "postgres"))
    assert look(ports=[{"port": port, "unit": "airflow-api-server", "variable": "airflow_webserver_port"}]) == []


def test_our_own_unit_may_have_the_port(look, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        monkeypatch.setattr(
            airflow_preflight, "owner", lambda inodes: ("0::/system.slice/airflow-proxy.service", "haproxy")
        )
        port = ours.getsockname()[1]
        assert look(ports=[{"port": port, "unit": "airflow-proxy", "variable": "airflow_proxy_port"}]) == []
        assert look(ports=[{"port": port, "unit": "airflow-api-server", "variable": "airflow_webserver_port"}])


def test_room_for_a_release_that_is_to_be_built(look, tmp_path):
    found = look(space=99999999, release=str(tmp_path / "opt/releases/none"))
    assert refused("b-space", found[0].replace(str(tmp_path / "opt"), "/srv/airflow"))
    assert look(space=99999999) == []


def test_the_clock(look):
    assert refused("b-clock-behind", look(controller_time=time.time() + 60)[0])
    assert look(controller_time=time.time() + 5) == []


def test_the_system(look):
    assert refused("b-system", look(systems=["fedora 40"])[0])
    assert look(systems=["debian"]) == []


def test_a_host_without_systemd(monkeypatch):
    monkeypatch.setattr(airflow_preflight, "system", lambda: ("debian", "12"))
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert [refused("b-systemd", text) for text in airflow_preflight.check_system({"systems": ["debian"]})] == [True]


def test_the_interpreter(look):
    assert refused("b-python-missing", look(python="/usr/bin/python9")[0])
    text = look(python_versions=["2.7"])[0]
    assert refused("b-python-version", text.replace("2.7", "3.10, 3.11, 3.12, 3.13, 3.14"))


def test_what_roles_would_remove(told, monkeypatch, tmp_path):
    rule, dangling, none = tmp_path / "rule", tmp_path / "dangling", tmp_path / "none"
    rule.touch()
    dangling.symlink_to(none)
    state = {"pid": 0, "deployment": None}
    states = {"airflow-statsd": dict(state, exists=True), "airflow-metrics": dict(state, exists=False)}
    asked = [*states, str(rule), str(dangling), str(none)]
    found = told(states, leftovers=asked)
    assert (found["leftovers"], found["running"]) == (["airflow-statsd", str(rule), str(dangling)], {})
    # Who may not look cannot say that something is not there.
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert told(states, leftovers=asked)["leftovers"] == asked


def test_everything_is_told_at_once(look):
    found = look(systems=["fedora 40"], python="/usr/bin/python9", resolve=["a.invalid", "b.invalid"])
    assert len(found) == 4, json.dumps(found)
