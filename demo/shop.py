"""A small shop: its tables, and a day's business at a pace that can be watched.

Every transaction counts its rows, and adds them to the books only when its commit has returned: what the books hold must
arrive.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import psycopg

SCHEMA: Final = "public"
TABLES: Final = ("customers", "products", "orders", "order_lines")
PUBLICATION: Final = "cdc_shop"

# REPLICA IDENTITY FULL logs old rows whole, so that a change can be shown as before and after. order_lines goes without:
# its updates carry the new row only, its deletes the key.
_CREATE: Final = """
CREATE TABLE customers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    city text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    price numeric(8,2) NOT NULL CHECK (price > 0),
    stock integer NOT NULL CHECK (stock >= 0)
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    status text NOT NULL DEFAULT 'placed',
    total numeric(10,2) NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE order_lines (
    order_id bigint REFERENCES orders,
    line smallint,
    product_id integer NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    price numeric(8,2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
ALTER TABLE customers REPLICA IDENTITY FULL;
ALTER TABLE products REPLICA IDENTITY FULL;
ALTER TABLE orders REPLICA IDENTITY FULL;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO cdc;
CREATE PUBLICATION cdc_shop FOR TABLE customers, products, orders, order_lines
    WITH (publish_via_partition_root = true, publish_generated_columns = stored);
"""
_PRODUCTS: Final = (
    ("Espresso beans 1 kg", "18.90"),
    ("Filter beans 500 g", "11.50"),
    ("Hand grinder", "89.00"),
    ("Moka pot", "34.95"),
    ("Pour-over kettle", "59.00"),
    ("Paper filters", "4.20"),
    ("Cup, blue", "12.00"),
    ("Cup, white", "12.00"),
    ("Milk jug", "19.75"),
    ("Cleaning tabs", "9.30"),
)
_FIRST_NAMES: Final = ("Ada", "Björn", "Chloé", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Inês", "Kofi", "Łucja")
_LAST_NAMES: Final = ("Adeyemi", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Hansen", "Ito", "Kaya")
_CITIES: Final = ("Lisbon", "Oslo", "Zürich", "Kraków", "Accra", "Kyoto", "Montréal", "İzmir")
_NEXT_STATUS: Final = {"placed": "paid", "paid": "packed", "packed": "shipped", "shipped": "delivered"}
_NEW_COLUMNS: Final = (
    ("customers", "loyalty", "text", "silver"),
    ("products", "weight_kg", "numeric(6,3)", "0.250"),
    ("orders", "gift", "boolean", "true"),
    ("order_lines", "discount", "numeric(4,2)", "1.50"),
)
_FIRST_CUSTOMERS: Final = 20
_MOST_ORDERS: Final = 300
_LOW_STOCK: Final = 10
_ALTER_EVERY: Final = 2.0


def create(connection: psycopg.Connection[Any], password: str) -> None:
    """The database `shop`, and the role `cdc` that may read its log and its tables, nothing else."""
    quoted = psycopg.sql.Literal(password)
    connection.execute(psycopg.sql.SQL("CREATE ROLE cdc LOGIN REPLICATION PASSWORD {}").format(quoted))
    connection.execute("CREATE DATABASE shop")


def furnish(connection: psycopg.Connection[Any]) -> None:
    """Tables and goods. These rows are there before the connector is, so it does not send them."""
    connection.execute(_CREATE.encode())
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO products (name, price, stock) VALUES (%s, %s, 100)", _PRODUCTS)


class Books:
    """What was committed: rows by table and operation. Written by one thread, read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: Counter[tuple[str, str]] = Counter()

    def add(self, rows: Counter[tuple[str, str]]) -> None:
        with self._lock:
            self._rows.update(rows)

    def copy(self) -> Counter[tuple[str, str]]:
        with self._lock:
            return self._rows.copy()


class Shop:
    """Does business on one connection, a transaction each time `trade` is called."""

    def __init__(self, connection: psycopg.Connection[Any], books: Books, seed: int | None = None) -> None:
        self._connection = connection
        self._books = books
        self._random = random.Random(seed)
        self._rows: Counter[tuple[str, str]] = Counter()
        self._customers: list[int] = []
        self._orders: dict[int, str] = {}
        self._added: list[tuple[str, str, str, str]] = []
        self._alterations = 0

    def trade(self) -> None:
        """One piece of business, of the likelier kinds more often."""
        business = (
            (self._place_order, 30),
            (self._advance_order, 40),
            (self._change_line, 12),
            (self._cancel_order, 6),
            (self._welcome_customer, 5),
            (self._move_customer, 5),
            (self._reprice, 4),
        )
        actions, weights = zip(*business, strict=True)
        self._commit(self._next_action(actions, weights))

    def alter(self) -> None:
        """Add a column, or drop the one that was added longest ago; and change a row that shows it."""
        self._commit(self._drop_column if len(self._added) == 2 else self._add_column)

    def _next_action(self, actions: Sequence[Callable[[], None]], weights: Sequence[int]) -> Callable[[], None]:
        if len(self._customers) < _FIRST_CUSTOMERS:
            return self._welcome_customer
        if not self._orders:
            return self._place_order
        if len(self._orders) > _MOST_ORDERS:
            return self._forget_oldest
        return self._random.choices(actions, weights)[0]

    def _commit(self, action: Callable[[], None]) -> None:
        self._rows.clear()
        with self._connection.transaction():
            action()
        self._books.add(self._rows)

    def _do(self, table: str, op: str, statement: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.encode(), tuple(values))
        self._rows[table, op] += cursor.rowcount
        return cursor.fetchall() if cursor.description else []

    def _welcome_customer(self) -> None:
        name = f"{self._random.choice(_FIRST_NAMES)} {self._random.choice(_LAST_NAMES)}"
        email = f"customer{len(self._customers) + 1}@example.org"
        statement = "INSERT INTO customers (name, email, city) VALUES (%s, %s, %s) RETURNING id"
        rows = self._do("customers", "c", statement, (name, email, self._random.choice(_CITIES)))
        self._customers.append(rows[0][0])

    def _move_customer(self) -> None:
        values = (self._random.choice(_CITIES), self._random.choice(self._customers))
        self._do("customers", "u", "UPDATE customers SET city = %s WHERE id = %s", values)

    def _place_order(self) -> None:
        lines = [(self._random.randint(1, len(_PRODUCTS)), self._random.randint(1, 4)) for _ in range(1, 4)]
        statement = "INSERT INTO orders (customer_id, total) VALUES (%s, 0) RETURNING id"
        order = self._do("orders", "c", statement, [self._random.choice(self._customers)])[0][0]
        for number, (product, quantity) in enumerate(lines[: self._random.randint(1, 3)], start=1):
            self._sell(order, number, product, quantity)
        self._total(order)
        self._orders[order] = "placed"

    def _sell(self, order: int, number: int, product: int, quantity: int) -> None:
        restock = "UPDATE products SET stock = stock + 100 WHERE id = %s AND stock < %s"
        self._do("products", "u", restock, (product, _LOW_STOCK))
        take = "UPDATE products SET stock = stock - %s WHERE id = %s RETURNING price"
        price = self._do("products", "u", take, (quantity, product))[0][0]
        statement = "INSERT INTO order_lines (order_id, line, product_id, quantity, price) VALUES (%s, %s, %s, %s, %s)"
        self._do("order_lines", "c", statement, (order, number, product, quantity, price))

    def _total(self, order: int) -> None:
        total = "(SELECT sum(quantity * price) FROM order_lines WHERE order_id = %s)"
        self._do("orders", "u", f"UPDATE orders SET total = {total} WHERE id = %s", (order, order))

    def _advance_order(self) -> None:
        order = self._random.choice([*self._orders])
        if (status := _NEXT_STATUS.get(self._orders[order])) is None:
            self._forget(order)
            return
        self._do("orders", "u", "UPDATE orders SET status = %s WHERE id = %s", (status, order))
        self._orders[order] = status

    def _change_line(self) -> None:
        order = self._random.choice([*self._orders])
        values = (self._random.randint(1, 6), order)
        self._do("order_lines", "u", "UPDATE order_lines SET quantity = %s WHERE order_id = %s AND line = 1", values)
        self._total(order)

    def _cancel_order(self) -> None:
        self._forget(self._random.choice([*self._orders]))

    def _forget_oldest(self) -> None:
        self._forget(next(iter(self._orders)))

    def _forget(self, order: int) -> None:
        self._do("order_lines", "d", "DELETE FROM order_lines WHERE order_id = %s", [order])
        self._do("orders", "d", "DELETE FROM orders WHERE id = %s", [order])
        del self._orders[order]

    def _reprice(self) -> None:
        statement = "UPDATE products SET price = round(price * %s, 2) WHERE id = %s"
        self._do("products", "u", statement, (self._random.choice(("1.05", "0.97")), self._random.randint(1, 10)))

    def _add_column(self) -> None:
        table, column, kind, value = added = _NEW_COLUMNS[self._alterations % len(_NEW_COLUMNS)]
        self._alterations += 1
        self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}".encode())
        self._touch(table, f"{column} = '{value}'")
        self._added.append(added)

    def _drop_column(self) -> None:
        table, column, *_ = self._added.pop(0)
        self._connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}".encode())
        plain = {"customers": "city = city", "products": "stock = stock", "orders": "total = total"}
        self._touch(table, plain.get(table, "quantity = quantity"))

    def _touch(self, table: str, assignment: str) -> None:
        row = f"(SELECT ctid FROM {table} LIMIT 1)"
        self._do(table, "u", f"UPDATE {table} SET {assignment} WHERE ctid = {row}", ())


class Business(threading.Thread):
    """Trades until it is told to stop; `failure` holds what went wrong."""

    def __init__(self, shop: Shop, pause: float) -> None:
        super().__init__(name="business")
        self._shop = shop
        self._pause = pause
        self._stop_asked = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self._trade()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def _trade(self) -> None:
        until_alter = _ALTER_EVERY
        while not self._stop_asked.wait(self._pause):
            self._shop.trade()
            until_alter -= self._pause
            if until_alter <= 0:
                self._shop.alter()
                until_alter = _ALTER_EVERY
