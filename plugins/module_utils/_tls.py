# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Begins TLS with a database or a broker as its own client does, and no more: no user, no password."""

from __future__ import annotations

import ssl
import struct

# What OpenSSL says when the chain is sound and the name is not: for a name, and for an address.
NAME_MISMATCH = (62, 64)
DATES = (9, 10)

_MYSQL_TLS = 0x0800
# The client's side: 4.1 protocol, TLS, and the password hash of that protocol.
_MYSQL_CLIENT = 0x0200 | _MYSQL_TLS | 0x8000


class NoTls(Exception):
    """The server does not speak TLS, or says so."""


def _receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise NoTls("it ended the connection")
        data += part
    return data


def _ask_postgresql(connection):
    connection.sendall(struct.pack("!ii", 8, 80877103))
    if _receive(connection, 1) != b"S":
        raise NoTls("it refused")


def _ask_mysql(connection):
    header = _receive(connection, 4)
    greeting = _receive(connection, int.from_bytes(header[:3], "little"))
    if greeting[0] == 0xFF:
        raise NoTls(greeting[3:].decode("utf-8", "replace").strip())
    # After the version come the thread, 8 bytes of salt and a filler.
    offset = greeting.index(b"\0", 1) + 1 + 4 + 8 + 1
    if not struct.unpack_from("<H", greeting, offset)[0] & _MYSQL_TLS:
        raise NoTls("it does not offer it")
    connection.sendall(b"\x20\0\0\1" + struct.pack("<IIB23x", _MYSQL_CLIENT, 1 << 24, 33))


_ASK = {"postgresql": _ask_postgresql, "mysql": _ask_mysql, "redis": lambda connection: None}


def trouble(connection, server):
    """Why TLS to `server` would not come about on this connection, empty when it does.

    `tls` of the server says how far it is verified: encrypt (not at all), authority, or name as well.
    """
    where = "%s port %s" % (server["host"], server["port"])
    try:
        context = ssl.create_default_context(cafile=server["ca_file"] or None)
    except ssl.SSLError:
        return "%s: %s holds no certificate: put that of the authority there" % (
            server["ca_variable"],
            server["ca_file"],
        )
    except OSError as error:
        return "%s: %s cannot be read (%s): put the authority's certificate there, on every host" % (
            server["ca_variable"],
            server["ca_file"],
            error.strerror or error,
        )
    context.check_hostname = server["tls"] == "name"
    if server["tls"] == "encrypt":
        context.verify_mode = ssl.CERT_NONE
    try:
        _ASK[server["kind"]](connection)
        context.wrap_socket(connection, server_hostname=server["host"]).close()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in NAME_MISMATCH:
            return "%s: the certificate of %s is for another name: use one that it is for" % (
                server["variable"],
                where,
            )
        if error.verify_code in DATES:
            return "%s: the certificate of %s is out of date (%s): renew it there" % (
                server["variable"],
                where,
                error.verify_message,
            )
        return "%s: the certificate of %s is not signed by %s (%s): name the file of the authority that signed it" % (
            server["ca_variable"],
            where,
            server["ca_file"] or "an authority that this system trusts",
            error.verify_message,
        )
    except (NoTls, OSError, ValueError, IndexError, struct.error) as error:
        # Who speaks another protocol answers with anything, with nothing, or by hanging up.
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        return "%s: %s speaks no TLS (%s): turn it on there, name the port that does, or empty %s" % (
            server["variable"],
            where,
            reason,
            server["ca_variable"],
        )
    return ""
