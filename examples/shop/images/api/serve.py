"""The shop's API: a small HTTP server on port 8000 with PostgreSQL behind it.

GET  /healthz       the process is alive (no database involved)
GET  /readyz        it can do its work: the database answers and has the tables
GET  /api/state     everything the page shows
POST /api/visit     count a visit
POST /api/buy/<id>  take one item
"""

import http.server
import json
import os
import re
import signal
import socket
import threading
from typing import Any

import database
import psycopg2

POD = os.environ.get("POD_NAME") or socket.gethostname()
NODE = os.environ.get("NODE_NAME", "")
GREETING = os.environ.get("GREETING", "Welcome")

pool = database.Pool()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "shop"
    # An idle connection must not hold up the end of the process.
    timeout = 5

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
        elif self.path == "/readyz":
            self.with_database(lambda cursor: self.is_loaded(cursor))
        elif self.path == "/api/state":
            self.with_database(lambda cursor: (200, self.state(cursor)))
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bought = re.fullmatch(r"/api/buy/(\d{1,9})", self.path)
        if self.path == "/api/visit":
            self.with_database(self.visit)
        elif bought:
            self.with_database(lambda cursor: self.buy(cursor, int(bought[1])))
        else:
            self.answer(404, {"error": "not found"})

    def is_loaded(self, cursor: Any) -> tuple[int, Any]:
        cursor.execute("SELECT to_regclass('counters') IS NOT NULL")
        (found,) = cursor.fetchone()
        return (200, {"ok": True}) if found else (503, {"error": "the tables are not there yet"})

    def state(self, cursor: Any) -> dict[str, Any]:
        return {**database.state(cursor), "pod": POD, "node": NODE, "greeting": GREETING}

    def visit(self, cursor: Any) -> tuple[int, Any]:
        database.visit(cursor)
        return 200, self.state(cursor)

    def buy(self, cursor: Any, item: int) -> tuple[int, Any]:
        if not database.buy(cursor, item, POD):
            return 409, {"error": "sold out"}
        return 200, self.state(cursor)

    def with_database(self, work: Any) -> None:
        try:
            with pool.cursor() as cursor:
                code, body = work(cursor)
        except psycopg2.Error as error:
            code, body = 503, {"error": " ".join(str(error).split())}
        self.answer(code, body)

    def answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        # Probes and the page's polling would drown everything else.
        if self.command != "GET":
            super().log_request(code, size)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


def main() -> None:
    server = Server(("", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{POD} serves on port 8000", flush=True)
    server.serve_forever(poll_interval=0.1)
    # Answers that are under way are finished first.
    server.server_close()
    print(f"{POD} has stopped", flush=True)


if __name__ == "__main__":
    main()
