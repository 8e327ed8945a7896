"""Small pure pieces of the spine: ledger, selection, continuity, faults, LSN, timeline history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import PositionLost, SettingsError, SourceOutage
from cdc.model.checkpoint import Mark
from cdc.model.selection import parse_selection
from cdc.pipeline.ledger import Ledger
from cdc_postgres.commands import SlotState, SystemIdentity, parse_timeline_history
from cdc_postgres.continuity import judge
from cdc_postgres.faults import BY_SQLSTATE, translate
from cdc_postgres.lsn import format_lsn, parse_lsn


def mark(n: int) -> Mark:
    return Mark(str(n), None, {})


def test_the_ledger_moves_to_the_last_mark_below_which_everything_is_durable() -> None:
    ledger = Ledger()
    first, second, third = (ledger.open(mark(n), count) for n, count in ((1, 2), (2, 1), (3, 0)))
    second(None, None)
    first(None, None)
    assert ledger.settle() is None
    first(None, None)
    assert ledger.settle() is third.mark
    assert ledger.idle()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.randoms())
def test_out_of_order_acknowledgements_never_skip_a_batch(counts: list[int], random: object) -> None:
    ledger = Ledger()
    tickets = [ledger.open(mark(n), count) for n, count in enumerate(counts)]
    calls = [n for n, count in enumerate(counts) for _ in range(count)]
    random.shuffle(calls)  # type: ignore[attr-defined]
    left = list(counts)
    reached = -1
    for n in [*calls, None]:
        safe = ledger.settle()
        reached = int(safe.position) if safe else reached
        expected = next((i for i, count in enumerate(left) if count), len(left)) - 1
        assert reached == expected
        if n is not None:
            tickets[n](None, None)
            left[n] -= 1


def test_K04_batches_without_records_cost_nothing_while_an_acknowledgement_is_owed() -> None:
    ledger = Ledger()
    first = ledger.open(mark(0), 1)
    tickets = {id(ledger.open(mark(n), 0)) for n in range(1, 1000)}
    assert ledger.settle() is None
    assert tickets == {id(first)}
    first(None, None)
    assert ledger.settle() == mark(999)


def test_a_failure_holds_its_batch_and_what_is_behind_it() -> None:
    ledger = Ledger()
    first, second = ledger.open(mark(1), 1), ledger.open(mark(2), 1)
    first("refused", "message")
    second(None, None)
    assert ledger.settle() is None
    assert [ticket.failures for ticket in ledger.failed()] == [[("refused", "message")]]
    first.settle_one()
    assert ledger.settle() == mark(2)


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("public.orders", [("public", "orders")], [("public", "Orders"), ("public", "orders2")]),
        (
            "public.*,!public.secret_?",
            [("public", "a"), ("public", "secret_ab")],
            [("public", "secret_a"), ("other", "a")],
        ),
        ('"we.ird"."a,""b"', [("we.ird", 'a,"b')], [("we", "ird")]),
        ('"*".t', [("*", "t")], [("x", "t")]),
        (" a.b , c.d ", [("a", "b"), ("c", "d")], [("a", "d")]),
        ("п.😀*", [("п", "😀x")], [("п", "x")]),
    ],
)
def test_selection(text: str, yes: list[tuple[str, str]], no: list[tuple[str, str]]) -> None:
    selection = parse_selection(text)
    assert all(selection.matches(*name) for name in yes)
    assert not any(selection.matches(*name) for name in no)


@pytest.mark.parametrize("text", ["", "orders", "a.b.c", "!a.b", 'a."b', "a.b c.d", ","])
def test_a_selection_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read|no table"):
        parse_selection(text)


@given(st.integers(0, 2**64 - 1))
def test_lsn_text(value: int) -> None:
    assert parse_lsn(format_lsn(value)) == value


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "x/y", "123456789/1"])
def test_not_an_lsn(text: str) -> None:
    with pytest.raises(ValueError, match=r"LSN|literal"):
        parse_lsn(text)


KNOWN = {"system_id": "1", "timeline": 1, "database": "d", "slot": "s", "publication": "p", "publication_oid": 5}
HERE = SystemIdentity("1", 1, 0x1000, "d")
SLOT = SlotState("pgoutput", "logical", "d", None, 0x400, 0x300, "reserved", "", "", 1)


def verdict(
    now: SystemIdentity = HERE,
    slot: SlotState | None = SLOT,
    position: int = 0x500,
    history: dict[int, int] | None = None,
    oid: int | None = 5,
) -> str:
    lost = judge(KNOWN, position, now, slot, history or {}, oid)
    return lost.fault if lost else "ok"


def slot_with(**changes: object) -> SlotState:
    from dataclasses import replace

    return replace(SLOT, **changes)  # type: ignore[arg-type]


def test_the_log_continues() -> None:
    assert verdict() == "ok"
    assert verdict(position=0x400) == "ok"
    assert verdict(SystemIdentity("1", 2, 0x1000, "d"), history={1: 0x800}) == "ok"


def test_P05_another_server() -> None:
    assert verdict(SystemIdentity("2", 1, 0x1000, "d")) == "another-server"
    assert verdict(SystemIdentity("1", 1, 0x1000, "e")) == "another-database"


def test_P06_slot_ahead_of_the_checkpoint() -> None:
    assert verdict(slot=slot_with(confirmed=0x501)) == "slot-ahead"


def test_P03_slot_gone() -> None:
    assert verdict(slot=None) == "slot-missing"
    assert verdict(slot=slot_with(plugin="test_decoding")) == "slot-foreign"


def test_P01_slot_invalidated() -> None:
    assert verdict(slot=slot_with(wal_status="lost")) == "slot-invalidated"
    assert verdict(slot=slot_with(reason="idle_timeout")) == "slot-invalidated"


def test_P49_server_restored_from_a_backup() -> None:
    assert verdict(SystemIdentity("1", 1, 0x4FF, "d")) == "server-went-back"


def test_P04_timelines() -> None:
    assert verdict(SystemIdentity("1", 2, 0x1000, "d"), history={1: 0x4FF}) == "timeline-forked"
    assert verdict(SystemIdentity("1", 2, 0x1000, "d")) == "timeline-forked"
    assert judge({**KNOWN, "timeline": 3}, 0x500, HERE, SLOT, {}, 5).fault == "timeline-went-back"  # type: ignore[union-attr]


def test_P21_publication_made_again() -> None:
    assert verdict(oid=6) == "publication-recreated"


def test_timeline_history() -> None:
    assert parse_timeline_history("1\t0/3000158\tno recovery target\n2\t1/A0\tx\n# c\n") == {
        1: 0x3000158,
        2: 0x1000000A0,
    }


def test_P46_sqlstate_comes_before_text() -> None:
    assert isinstance(translate("57P01", "irgendein Text"), SourceOutage)
    assert isinstance(translate("42704", "slot"), PositionLost)
    assert isinstance(translate("28P01", "x"), SettingsError)
    assert isinstance(translate("08006", "x"), SourceOutage)
    assert translate(None, "server does not support SSL, but SSL was required").action.find("tls=off") > 0
    assert isinstance(translate(None, "Connection refused"), SourceOutage)
    assert all(fault.action for fault in BY_SQLSTATE.values())


def test_S08_an_error_about_a_value_does_not_quote_it() -> None:
    for sqlstate in ("22P02", "22012", "22021"):
        error = translate(sqlstate, 'invalid input syntax for type integer: "canary"')
        assert error.exit_code == 4
        assert "canary" not in str(error) + error.action
