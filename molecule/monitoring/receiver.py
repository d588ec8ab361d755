# Copyright (c) dataops.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands where Slack and the guard of the dead man's switch would be, and writes down what they are told."""

import http.server
import json
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # While this file is there, nobody listens.
        refused = os.path.exists("/run/receiver-refuses")
        if not refused:
            line = {"path": self.path, "time": time.time(), "body": json.loads(body)}
            with open("/var/lib/receiver/told", "a", encoding="utf-8") as told:
                told.write(json.dumps(line) + "\n")
        self.send_response(403 if refused else 200)
        self.end_headers()
        self.wfile.write(b"invalid_token" if refused else b"ok")


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
