# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE to the collection: no promise is made to code outside it.

"""Waits until an API server answers where tasks will ask one: the last thing before what runs tasks starts.

This file itself is part of a deployment, and run on the hosts by the release's interpreter.
"""

from __future__ import annotations

import configparser
import http.client
import os
import ssl
import time
from urllib.parse import urlsplit

INTERVAL = 0.5


def health_page():
    """The address to ask, in its parts; None where none is configured."""
    url = os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")
    if not url:
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read(os.environ["AIRFLOW_CONFIG"])
        url = config.get("core", "execution_api_server_url", fallback="").replace("%%", "%")
    parts = urlsplit(url)
    # Who asks is of no importance, and is not to be in the journal.
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, path=parts.path.rstrip("/") + "/health", query="") if url else None


def trouble(page):
    """Why no API server answers there; an empty text if one does."""
    if page.scheme == "https":
        # Nothing is confided to it: that a certificate is right is for the tasks' own client to see.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(page.netloc, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(page.netloc, timeout=5)
    try:
        connection.request("GET", page.path)
        code = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    # A proxy without a server behind it answers too, with one of these.
    return "code %d" % code if code >= 500 else ""


def main():
    page, told = health_page(), ""
    while page:
        why = trouble(page)
        if not why:
            break
        if why != told:
            print("no API server answers at %s yet: %s" % (page.geturl(), why), flush=True)
            told = why
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
