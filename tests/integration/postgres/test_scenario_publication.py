"""Which tables, rows and columns are published, and what happens when that changes.

Subjects of PostgreSQL's own subscription tests 024, 027, 028 and 031.
"""

from __future__ import annotations

import psycopg

from tests.integration.postgres.stream import OpenCapture, Stream, on

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int, a text)"
OTHER = "CREATE TABLE u (id int PRIMARY KEY, n int)"


def told_of(stream: Stream, fault: str) -> list[str]:
    """The actions of the log lines about one fault."""
    return [line["action"] for line in stream.logs if line.get("fault") == fault]


@on()
def test_P16_a_table_without_identity_is_not_published_by_itself(capture: OpenCapture) -> None:
    stream = capture(TABLE, "CREATE TABLE log (a int)", "INSERT INTO log VALUES (1)", started=False)
    stream.launch()
    failure = stream.halted()
    assert getattr(failure, "fault", "") == "table-without-identity"
    assert "public.log" in str(failure)
    stream.sql("UPDATE log SET a = 2", "DELETE FROM log")


@on()
def test_P16_a_table_without_identity_does_not_join_later(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.sql("CREATE TABLE log (a int)", OTHER, "INSERT INTO log VALUES (1)")
    stream.await_published("public.u")
    stream.sql("UPDATE log SET a = 2")
    assert stream.published() == {"public.t", "public.u"}
    (action,) = told_of(stream, "table-without-identity")
    assert 'ALTER TABLE "public"."log" REPLICA IDENTITY FULL' in action


@on()
def test_P22_a_new_table_joins_by_itself(capture: OpenCapture) -> None:
    stream = capture(TABLE, CDC_TABLES="public.*,!public.x*,marker.seen")
    stream.sql(
        "CREATE TABLE xx (id int PRIMARY KEY)",
        OTHER,
        "CREATE TEMP TABLE tt (id int)",
        "CREATE UNLOGGED TABLE l (id int)",
    )
    stream.await_published("public.u")
    stream.sql("INSERT INTO u VALUES (1, 2)", "INSERT INTO xx VALUES (1)", "INSERT INTO t VALUES (1)")
    assert [(s.topic, s.version) for s in stream.read()] == [("t.public.u", 1), ("t.public.t", 1)]
    assert stream.published() == {"public.t", "public.u"}


@on()
def test_P22_a_table_made_while_the_connector_was_down_joins_at_once(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    stream.stop()
    stream.sql(OTHER)
    stream.start(CDC_POSTGRES_WATCH_INTERVAL="3600")
    stream.await_published("public.u")
    stream.sql("INSERT INTO u VALUES (1, 2)")
    assert [s.topic for s in stream.read()] == ["t.public.u"]


@on()
def test_P22_a_locked_table_keeps_nobody_waiting_and_joins_later(capture: OpenCapture) -> None:
    stream = capture(TABLE)
    with psycopg.connect(stream.server.dsn(stream.database)) as vacuum:
        stream.stop()
        stream.sql(OTHER)
        vacuum.execute("LOCK TABLE u IN SHARE UPDATE EXCLUSIVE MODE")
        stream.start()
        stream.await_logs(1, "table-not-published")
        stream.sql("INSERT INTO t VALUES (1)")
        assert [s.topic for s in stream.read()] == ["t.public.t"]
    stream.await_published("public.u")


@on()
def test_P22_a_table_of_somebody_else_takes_one_warning_with_the_statement(capture: OpenCapture) -> None:
    """Least privilege: a role that may replicate and read, and owns nothing but the publication."""
    stream = capture(TABLE, started=False)
    role = f"reader_{stream.database}"
    stream.sql(
        f"CREATE ROLE {role} LOGIN REPLICATION",
        "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen",
        f"ALTER PUBLICATION cdc_t OWNER TO {role}",
        f"GRANT USAGE ON SCHEMA marker TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    try:
        stream.start(CDC_SOURCE=stream.server.dsn(stream.database, role), CDC_POSTGRES_WATCH_INTERVAL="1")
        stream.sql(OTHER, 'CREATE TABLE "it\'s" (id int PRIMARY KEY)')
        statements = [f'ALTER PUBLICATION "cdc_t" ADD TABLE "public"."{name}"' for name in ("it's", "u")]
        stream.await_logs(2, "table-not-published")
        stream.sql("INSERT INTO t VALUES (1)")
        assert [s.after for s in stream.read()] == [{"id": 1, "n": None, "a": None}]
        assert told_of(stream, "table-not-published") == [f"Run: {statement};" for statement in statements]
        stream.sql(*statements, "INSERT INTO u VALUES (1, 2)")
        assert [s.table for s in stream.read()] == ["public.u"]
        stream.stop()
    finally:
        stream.sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@on(13, 18)
def test_P22_a_table_leaves_and_comes_back(capture: OpenCapture) -> None:
    """With a publication of the operator's own: what is published is up to them, running or not."""
    stream = capture(
        TABLE, OTHER, "CREATE PUBLICATION cdc_t FOR TABLE t, u, marker.seen", CDC_POSTGRES_CREATE="slot", started=False
    )
    stream.start()
    stream.sql("INSERT INTO t VALUES (1)", "ALTER PUBLICATION cdc_t DROP TABLE t", "INSERT INTO t VALUES (2)")
    stream.sql("ALTER PUBLICATION cdc_t ADD TABLE t", "INSERT INTO t VALUES (3)")
    assert [(s.after or {})["id"] for s in stream.read()] == [1, 3]
    stream.stop()
    stream.sql("ALTER PUBLICATION cdc_t DROP TABLE t", "INSERT INTO t VALUES (4)", "INSERT INTO u VALUES (4)")
    stream.sql("ALTER PUBLICATION cdc_t ADD TABLE t", "INSERT INTO t VALUES (5)")
    stream.start()
    assert [(s.table, (s.after or {})["id"]) for s in stream.read()] == [("public.u", 4), ("public.t", 5)]


@on()
def test_P22_tables_that_nobody_selected_take_an_ordinal_and_no_event(capture: OpenCapture) -> None:
    """So a changed selection changes no id."""
    stream = capture(
        TABLE,
        OTHER,
        "CREATE PUBLICATION cdc_t FOR ALL TABLES",
        CDC_TABLES="public.t,marker.seen",
        CDC_POSTGRES_CREATE="slot",
    )
    stream.transaction("INSERT INTO u VALUES (1, 1), (2, 2)", "INSERT INTO t VALUES (1)", "TRUNCATE u", "DELETE FROM t")
    seen = stream.changes()
    assert [(s.op, s.id.rpartition(":")[2], s.value["transaction"]["total_order"]) for s in seen] == [
        ("c", "2", 1),
        ("d", "4", 2),
    ]


@on(15, 18, since=15)
def test_P22_a_row_that_crosses_the_filter_is_inserted_or_deleted(capture: OpenCapture) -> None:
    stream = capture(
        TABLE,
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "CREATE PUBLICATION cdc_t FOR TABLE t WHERE (n > 10), marker.seen",
        CDC_POSTGRES_CREATE="slot",
    )
    stream.sql(
        "INSERT INTO t VALUES (1, 5, 'low'), (2, 50, 'high'), (3, NULL, 'none')",
        "UPDATE t SET n = 20 WHERE id = 1",
        "UPDATE t SET a = 'x' WHERE id < 3",
        "UPDATE t SET n = 1 WHERE id = 2",
        "DELETE FROM t",
    )
    assert [(s.op, (s.after or s.before or {})["id"], s.before is None) for s in stream.changes()] == [
        ("c", 2, True),
        ("c", 1, True),
        ("u", 1, False),
        ("u", 2, False),
        ("d", 2, False),
        ("d", 1, False),
    ]


@on(since=15)
def test_P22_a_filter_on_the_key_needs_no_full_identity(capture: OpenCapture) -> None:
    stream = capture(
        TABLE, "CREATE PUBLICATION cdc_t FOR TABLE t WHERE (id > 10), marker.seen", CDC_POSTGRES_CREATE="slot"
    )
    stream.sql(
        "INSERT INTO t VALUES (1), (11)", "UPDATE t SET id = 12 WHERE id = 1", "UPDATE t SET id = 2 WHERE id = 11"
    )
    stream.sql("UPDATE t SET id = 13 WHERE id = 12", "TRUNCATE t")
    assert [(s.op, s.key) for s in stream.changes()] == [
        ("c", {"id": 11}),
        ("c", {"id": 12}),
        ("d", {"id": 11}),
        ("d", {"id": 12}),
        ("c", {"id": 13}),
        ("t", None),
    ]


@on(since=15)
def test_P22_a_filter_changed_under_way_and_while_down(capture: OpenCapture) -> None:
    stream = capture(
        TABLE, "CREATE PUBLICATION cdc_t FOR TABLE t WHERE (id > 10), marker.seen", CDC_POSTGRES_CREATE="slot"
    )
    stream.sql("INSERT INTO t VALUES (1), (11)", "ALTER PUBLICATION cdc_t SET TABLE t WHERE (id < 10), marker.seen")
    stream.sql("INSERT INTO t VALUES (2), (12)")
    assert [s.key for s in stream.read()] == [{"id": 11}, {"id": 2}]
    stream.stop()
    stream.sql("INSERT INTO t VALUES (3), (13)", "ALTER PUBLICATION cdc_t SET TABLE t, marker.seen")
    stream.sql("INSERT INTO t VALUES (4), (14)")
    stream.start()
    assert [s.key for s in stream.read()] == [{"id": 3}, {"id": 4}, {"id": 14}]


@on(since=15)
def test_P22_a_column_list_and_its_change(capture: OpenCapture) -> None:
    """Columns out of the list are not told of at all; another list is another version of the table."""
    stream = capture(TABLE, "CREATE PUBLICATION cdc_t FOR TABLE t (id, n), marker.seen", CDC_POSTGRES_CREATE="slot")
    stream.sql("INSERT INTO t VALUES (1, 2, 'secret')", "UPDATE t SET a = 'other secret'")
    stream.sql("ALTER TABLE t ADD late int", "UPDATE t SET n = 3", "ALTER TABLE t RENAME n TO m", "UPDATE t SET m = 4")
    stream.sql("ALTER PUBLICATION cdc_t SET TABLE t (id, a), marker.seen", "DELETE FROM t", "INSERT INTO t VALUES (2)")
    seen = stream.changes()
    assert [(s.op, s.after or s.before, s.version) for s in seen] == [
        ("c", {"id": 1, "n": 2}, 1),
        ("u", {"id": 1, "n": 2}, 1),
        ("u", {"id": 1, "n": 3}, 1),
        ("u", {"id": 1, "m": 4}, 2),
        ("d", {"id": 1}, 3),
        ("c", {"id": 2, "a": None}, 3),
    ]
    assert not any(b"secret" in (record.value or b"") for record in stream.sink.records)


@on(since=15)
def test_P22_tables_in_a_schema(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE SCHEMA s",
        "CREATE PUBLICATION cdc_t FOR TABLES IN SCHEMA s, TABLE marker.seen",
        CDC_TABLES="s.*,marker.seen",
        CDC_POSTGRES_CREATE="slot",
    )
    stream.sql("CREATE TABLE s.t (id int PRIMARY KEY)", "INSERT INTO s.t VALUES (1)")
    assert [(s.topic, s.after) for s in stream.read()] == [("t.s.t", {"id": 1})]


@on()
def test_P22_only_some_operations_are_published(capture: OpenCapture) -> None:
    stream = capture(
        TABLE,
        "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen WITH (publish = 'insert, truncate')",
        CDC_POSTGRES_CREATE="slot",
    )
    stream.sql("INSERT INTO t VALUES (1)", "UPDATE t SET n = 1", "DELETE FROM t", "TRUNCATE t")
    assert [s.op for s in stream.read()] == ["c", "t"]


@on()
def test_P20_publication_before_slot(capture: OpenCapture) -> None:
    """What is written between the two is there for the first life, and no life trips over the log before them."""
    stream = capture(TABLE, "INSERT INTO t VALUES (1)", started=False)
    stream.start()
    stream.sql("INSERT INTO t VALUES (2)")
    assert [s.key for s in stream.read()] == [{"id": 2}]


@on()
def test_P39_sequences_and_large_objects_and_views_are_not_told_of(capture: OpenCapture) -> None:
    stream = capture(
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "CREATE SEQUENCE s",
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t",
        "CREATE VIEW v AS SELECT id FROM t",
    )
    stream.sql(
        "SELECT nextval('s')", "SELECT lo_from_bytea(0, 'x')", "INSERT INTO v VALUES (7)", "REFRESH MATERIALIZED VIEW m"
    )
    assert [(s.table, s.after) for s in stream.read()] == [("public.t", {"id": 7})]


@on()
def test_P16_a_foreign_key_cascade_and_a_trigger_are_rows_as_others(capture: OpenCapture) -> None:
    """TAP 003: what the server does on its own account is in the log, in the order in which it was done."""
    stream = capture(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)",
        "CREATE TABLE audit (id serial PRIMARY KEY, what text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO audit (what) VALUES (TG_OP); RETURN NULL; END$$",
        "CREATE TRIGGER note AFTER INSERT OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION note()",
    )
    stream.transaction("INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (5, 1)", "DELETE FROM parent")
    assert [(s.op, s.table, s.key) for s in stream.changes()] == [
        ("c", "public.parent", {"id": 1}),
        ("c", "public.child", {"id": 5}),
        ("c", "public.audit", {"id": 1}),
        ("d", "public.parent", {"id": 1}),
        ("d", "public.child", {"id": 5}),
        ("c", "public.audit", {"id": 2}),
    ]


@on()
def test_S4_rights_lost_under_way_do_not_end_the_stream(capture: OpenCapture) -> None:
    """Rights are checked when the stream starts, not for each row: so says the manual, and so it must stay known."""
    stream = capture(TABLE, started=False)
    role = f"reader_{stream.database}"
    stream.sql(
        f"CREATE ROLE {role} LOGIN REPLICATION",
        "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen",
        f"GRANT SELECT ON t TO {role}",
    )
    try:
        stream.start(CDC_SOURCE=stream.server.dsn(stream.database, role), CDC_POSTGRES_CREATE="slot")
        stream.sql(f"REVOKE SELECT ON t FROM {role}", "INSERT INTO t VALUES (1)")
        assert [s.key for s in stream.read()] == [{"id": 1}]
        with psycopg.connect(stream.server.dsn(stream.database, role)) as other:
            try:
                other.execute("SELECT FROM t")
            except psycopg.errors.InsufficientPrivilege:
                pass
            else:
                raise AssertionError("the role still reads")
        stream.stop()
    finally:
        stream.sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@on(13, 18)
def test_P22_a_table_joins_while_a_transaction_writes_to_it(capture: OpenCapture) -> None:
    """TAP 100's subject: what a running transaction writes after the table has joined is told of."""
    stream = capture(
        TABLE, OTHER, "CREATE PUBLICATION cdc_t FOR TABLE t, marker.seen", CDC_POSTGRES_CREATE="slot", started=False
    )
    stream.start()
    with stream.begin() as writer:
        writer.execute("BEGIN; INSERT INTO t VALUES (1)")
        stream.sql("ALTER PUBLICATION cdc_t ADD TABLE u")
        writer.execute("INSERT INTO u VALUES (2); INSERT INTO t VALUES (3); COMMIT")
        writer.execute("INSERT INTO u VALUES (4)")
    assert [(s.table, (s.key or {})["id"]) for s in stream.read()] == [
        ("public.t", 1),
        ("public.u", 2),
        ("public.t", 3),
        ("public.u", 4),
    ]
