"""The shop's tables and the few things that are done with them."""

import contextlib
import os
import queue
import select
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price_cents integer NOT NULL,
    stock integer NOT NULL CHECK (stock >= 0)
);
CREATE TABLE IF NOT EXISTS orders (
    id serial PRIMARY KEY,
    item_id integer NOT NULL REFERENCES items,
    served_by text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS counters (name text PRIMARY KEY, value bigint NOT NULL);
INSERT INTO counters VALUES ('visits', 0) ON CONFLICT DO NOTHING;
"""


def connect() -> Any:
    """A connection as the environment says (ConfigMap and Secret)."""
    return psycopg2.connect(
        host=os.environ["DB_HOST"],
        dbname=os.environ["DB_NAME"],
        user=os.environ["DB_USER"],
        password=os.environ["DB_PASSWORD"],
        connect_timeout=3,
        application_name=os.environ.get("POD_NAME", "shop"),
    )


class Pool:
    """Connections to share between threads; one that broke is not given out again."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue(maxsize=8)

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """One transaction: committed at the end, rolled back on an error."""
        connection = self._take()
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        except psycopg2.Error:
            connection.close()
            raise
        else:
            self._give_back(connection)

    def _take(self) -> Any:
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return connect()
            if not has_ended(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Any) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()


def has_ended(connection: Any) -> bool:
    """An idle connection has nothing to read but the server's farewell: the database was replaced, and the next request need not fail."""
    return bool(select.select([connection], [], [], 0)[0])


def state(cursor: Any) -> dict[str, Any]:
    cursor.execute("SELECT value FROM counters WHERE name = 'visits'")
    (visits,) = cursor.fetchone()
    cursor.execute("SELECT id, name, price_cents, stock FROM items ORDER BY id")
    items = [dict(zip(("id", "name", "price_cents", "stock"), row, strict=True)) for row in cursor]
    cursor.execute(
        "SELECT orders.id, items.name, served_by, to_char(at, 'HH24:MI:SS') FROM orders JOIN items ON items.id = item_id"
        " ORDER BY orders.id DESC LIMIT 8"
    )
    orders = [dict(zip(("id", "item", "served_by", "at"), row, strict=True)) for row in cursor]
    cursor.execute(
        "SELECT current_setting('server_version'), to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI:SS'),"
        " (SELECT count(*) FROM orders)"
    )
    version, started, total = cursor.fetchone()
    return {
        "visits": visits,
        "items": items,
        "orders": orders,
        "order_count": total,
        "database": {"version": version, "started": started},
    }


def visit(cursor: Any) -> None:
    cursor.execute("UPDATE counters SET value = value + 1 WHERE name = 'visits'")


def buy(cursor: Any, item: int, served_by: str) -> bool:
    """Whether there was one left."""
    cursor.execute("UPDATE items SET stock = stock - 1 WHERE id = %s AND stock > 0", (item,))
    if cursor.rowcount == 0:
        return False
    cursor.execute("INSERT INTO orders (item_id, served_by) VALUES (%s, %s)", (item, served_by))
    return True
