"""How a URL becomes libpq's settings: above all, that nothing but this machine is spoken to in plain text unasked (S1)."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from cdc.model.finding import Severity
from cdc_postgres.connection import ConnectionOptions
from cdc_postgres.preflight.server import _protection


def _sslmode(url: str, tls: str | None = None) -> object:
    options = ConnectionOptions(url, "cdc test", tls=tls, tls_ca="/ca.pem")
    return conninfo_to_dict(options.conninfo(replication=False))["sslmode"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@localhost/d", "prefer"),
        ("postgresql://u@127.8.0.1/d", "prefer"),
        ("postgresql://u@[::1]/d", "prefer"),
        ("postgresql:///d?host=/run/postgresql", "prefer"),
        ("postgresql://u@%2Frun%2Fpostgresql/d", "prefer"),
        ("postgresql:///d", "prefer"),
        ("postgresql://u@db.example.com/d", "verify-full"),
        ("postgresql:///d?host=db.example.com", "verify-full"),
        ("postgresql:///d?hostaddr=192.0.2.1", "verify-full"),
        ("postgresql://localhost/d?hostaddr=192.0.2.1", "verify-full"),
        ("postgresql://localhost,db.example.com/d", "verify-full"),
    ],
)
def test_S1_verify_full_unless_it_is_this_machine(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert _sslmode(url) == expected
    assert _sslmode(url, "off") == "disable"


def test_S1_libpqs_own_variables_do_not_hide_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert _sslmode("postgresql:///d") == "verify-full"
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    assert _sslmode("postgresql://localhost/d") == "verify-full"


@pytest.mark.parametrize("asked", ["off", "require", "verify-ca"])
def test_S1_less_than_verify_full_is_a_warning(asked: str) -> None:
    (finding,) = _protection(asked, asked != "off")
    assert (finding.severity, finding.fix) == (Severity.WARNING, "CDC_SOURCE_TLS=verify-full")


def test_nothing_asked_is_no_warning() -> None:
    assert [each.severity for used in (True, False) for each in _protection(None, used)] == [Severity.OK] * 2
