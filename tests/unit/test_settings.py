"""The settings: which value wins, what is refused and with which words, and that no secret comes out again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from cdc.errors import ExitCode, SettingsError
from cdc.observe import scrub
from cdc.ports import Connector
from cdc.settings import EngineSettings, InstalledConnectors, Settings, load_settings
from cdc.settings.load import DELIVERED

SECRET = "Corr3ct-horse'$taple"


class LogSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    slot: str = Field(default="", pattern="^[a-z]*$", description="A name.")
    create: tuple[Literal["publication", "slot"], ...] = ("publication", "slot")
    token: SecretStr | None = None
    interval: float = Field(default=10.0, gt=0, json_schema_extra={"digest": False})

    @field_validator("create", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


class BrokerSettings(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    create_topics: bool = False


class PlainSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: int = 0


def connector(name: str, schemes: tuple[str, ...], settings: type[BaseModel]) -> Connector:
    return Connector(
        name, schemes, settings, lambda context: context, lambda context, checkpoint: [], lambda error: None
    )


@dataclass
class Distribution:
    """As much of `importlib.metadata.Distribution` as is asked for."""

    name: str = "cdc-connector"
    extras: tuple[str, ...] = ("broker",)
    metadata: Any = field(init=False)

    def __post_init__(self) -> None:
        self.metadata = self

    def get_all(self, header: str) -> tuple[str, ...]:
        assert header == "Provides-Extra"
        return self.extras


def entry(name: str, value: str, group: str = "cdc.sinks") -> EntryPoint:
    made = EntryPoint(name, value, group)
    vars(made).update(dist=Distribution())
    return made


@pytest.fixture(autouse=True)
def connectors(monkeypatch: pytest.MonkeyPatch) -> InstalledConnectors:
    home = ModuleType("cdc_imagined")
    home.__dict__.update(
        LOG=connector("log", ("logdb", "logsql"), LogSettings),
        BROKER=connector("broker", ("broker",), BrokerSettings),
        PLAIN=connector("plain", ("plainfile", "out"), PlainSettings),
        NONSENSE="nonsense",
    )
    monkeypatch.setitem(sys.modules, "cdc_imagined", home)
    monkeypatch.setattr(scrub, "_PROCESS", scrub.Scrubber())
    return InstalledConnectors(
        (entry("log", "cdc_imagined:LOG", "cdc.sources"),),
        (entry("broker", "cdc_imagined:BROKER"), entry("plain", "cdc_imagined:PLAIN")),
    )


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "CDC_NAME": "shop",
        "CDC_SOURCE": "logdb://reader@db.example:5432/shop",
        "CDC_SINK": "broker://one:9092,two",
        "CDC_TABLES": "public.orders,inventory.*",
        "CDC_CHECKPOINT": f"file://{tmp_path}/shop.checkpoint",
        "PATH": "/bin",
    }


@pytest.fixture
def load(connectors: InstalledConnectors, environ: dict[str, str]) -> Any:
    def _load(env_file: Path | None = None, /, **changes: str | None) -> Settings:
        merged: Mapping[str, str | None] = {**environ, **changes}
        return load_settings(env_file, {n: v for n, v in merged.items() if v is not None}, connectors)

    return _load


@pytest.fixture
def wrong(load: Any) -> Any:
    """The lines of the error that these changes give."""

    def _wrong(env_file: Path | None = None, /, **changes: str | None) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(env_file, **changes)
        assert caught.value.exit_code is ExitCode.SETTINGS
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return str(caught.value).split("\n")

    return _wrong


# -- what comes out


def test_the_least_that_must_be_given(load: Any, tmp_path: Path) -> None:
    settings = load()
    engine = settings.engine
    assert (engine.name, engine.memory, engine.checkpoint_interval) == ("shop", 64 * 2**20, 1.0)
    assert engine.checkpoint == tmp_path / "shop.checkpoint"
    assert engine.health_socket == tmp_path / "shop.checkpoint.sock"
    assert (engine.headers, dict(engine.keys), engine.dead_letter) == ((), {}, None)
    assert (engine.tombstones, engine.truncate, engine.retry_limit, engine.shutdown_timeout) == (
        True,
        "broadcast",
        0,
        30,
    )
    assert engine.tables.matches("inventory", "x")
    assert not engine.tables.matches("public", "x")
    assert settings.source.connector.name == "log"
    assert settings.sink.connector.name == "broker"
    assert settings.source.context.settings == LogSettings()
    assert settings.sink.context.url == "broker://one:9092,two"
    assert settings.source.open() is settings.source.context


def test_every_engine_setting_can_be_given(load: Any, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("certificate")
    settings = load(
        CDC_SOURCE_TLS="verify-ca",
        CDC_SOURCE_TLS_CA=str(ca),
        CDC_KEYS='public.orders=id,customer; inventory."a.b"="x=1,y" ;',
        CDC_CHECKPOINT_INTERVAL="0.25",
        CDC_SNAPSHOT="never",
        CDC_ON_POSITION_LOST="accept-gap",
        CDC_ON_KEY_CHANGE_UNCHANGED="halt",
        CDC_RETRY_LIMIT="600",
        CDC_MEMORY="1.5GiB",
        CDC_TOPIC="{name}-{table}",
        CDC_MESSAGE_TOPIC="{name}.m",
        CDC_GAP_TOPIC="gaps",
        CDC_TOMBSTONES="false",
        CDC_TRUNCATE="off",
        CDC_HEADERS="id, op",
        CDC_DEAD_LETTER="file:///var/dead%20letters",
        CDC_INVALID_TEXT="base64",
        CDC_HEALTH_SOCKET="/run/x.sock",
        CDC_LOG_FORMAT="json",
        CDC_LOG_LEVEL="DEBUG",
        CDC_SHUTDOWN_TIMEOUT="5",
    )
    engine = settings.engine
    assert dict(engine.keys) == {"public.orders": ("id", "customer"), "inventory.a.b": ("x=1,y",)}
    assert (engine.memory, engine.topic, engine.gap_topic) == (3 * 2**29, "{name}-{table}", "gaps")
    assert (engine.tombstones, engine.headers, engine.log_level) == (False, ("id", "op"), "debug")
    assert engine.dead_letter == Path("/var/dead letters")
    assert engine.health_socket == Path("/run/x.sock")
    context = settings.source.context
    assert (context.tls, context.tls_ca, context.on_position_lost) == ("verify-ca", str(ca), "accept-gap")
    assert context.keys == engine.keys
    assert (context.memory, context.invalid_text) == (engine.memory, "base64")


def test_settings_cannot_be_changed(load: Any) -> None:
    settings = load()
    with pytest.raises(FrozenInstanceError):
        settings.digest = "other"
    with pytest.raises(ValidationError):
        settings.engine.name = "other"
    with pytest.raises(TypeError):
        settings.engine.keys["a.b"] = ("c",)


def test_the_environment_wins_over_the_file(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("CDC_NAME=file\nCDC_MEMORY=2MiB\nOTHER_UNKNOWN=1\n")
    assert load(file).engine.name == "shop"
    assert load(file).engine.memory == 2**21
    assert load(file, CDC_NAME=None).engine.name == "file"


def test_the_process_environment_does_not_come_in_by_itself(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MEMORY", "5MiB")
    assert load().engine.memory == 64 * 2**20


@pytest.mark.parametrize("value", ["a#b", "100%", "it's", "$HOME", "'q'", "a b "])
def test_a_file_hands_a_value_on_unchanged(load: Any, tmp_path: Path, value: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"CDC_SOURCE_PASSWORD={value}\n")
    assert load(file).source.context.password.get_secret_value() == value


def test_an_empty_value_means_the_default(load: Any, wrong: Any) -> None:
    settings = load(CDC_MEMORY="", CDC_TOPIC="", CDC_SOURCE_PASSWORD="", CDC_LOG_INTERVAL=None, CDC_LOG_SLOT="")
    assert settings.engine.topic == "{name}.{schema}.{table}"
    assert settings.source.context.password is None
    assert wrong(CDC_NAME="")[0].startswith("CDC_NAME: is required; expected letters")


def test_an_empty_list_of_a_connector_is_empty(load: Any) -> None:
    assert load(CDC_LOG_CREATE="").source.context.settings.create == ()
    assert load(CDC_LOG_CREATE="slot").source.context.settings.create == ("slot",)


# -- connectors


def test_a_connectors_own_settings(load: Any) -> None:
    settings = load(CDC_LOG_SLOT="a", CDC_BROKER_CREATE_TOPICS="true", CDC_BROKER_LINGER_MS="5")
    assert settings.source.context.settings.slot == "a"
    assert settings.sink.context.settings.create_topics is True
    assert settings.sink.context.settings.model_extra == {"linger_ms": "5"}


def test_a_secret_for_the_driver_is_wrapped(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("-----BEGIN\nabc\n")
    settings = load(CDC_BROKER_SASL_PASSWORD=SECRET, CDC_BROKER_SSL_KEY_PEM_FILE=str(file))
    extra = settings.sink.context.settings.model_extra
    assert extra["sasl_password"].get_secret_value() == SECRET
    assert extra["ssl_key_pem"].get_secret_value() == "-----BEGIN\nabc"
    assert SECRET not in repr(settings)


def test_a_scheme_that_is_not_its_connectors_name(load: Any) -> None:
    assert load(CDC_SINK="out:").sink.connector.name == "plain"
    assert load(CDC_SINK="out:").sink.context.url == "out:"
    assert load(CDC_SOURCE="logsql://h/d").source.connector.name == "log"


def test_no_connector_for_a_scheme(wrong: Any) -> None:
    expected = "CDC_SINK: no sink is installed for pigeon: (installed: broker:, out:, plainfile:)"
    assert wrong(CDC_SINK="pigeon://h") == [expected]


def test_only_the_connectors_in_use_are_loaded(connectors: InstalledConnectors, environ: dict[str, str]) -> None:
    absent = (*connectors.sinks, entry("other", "cdc_imagined_other:CONNECTOR"))
    assert load_settings(None, environ, replace(connectors, sinks=absent)).sink.connector.name == "broker"
    with pytest.raises(SettingsError, match="connector other cannot be loaded: cdc_imagined_other cannot"):
        load_settings(None, {**environ, "CDC_SINK": "other://h"}, replace(connectors, sinks=absent))


def test_a_missing_extra_is_named(
    connectors: InstalledConnectors, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cdc_without_driver.py").write_text("import driver_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = replace(connectors, sinks=(entry("broker", "cdc_without_driver:CONNECTOR"),))
    with pytest.raises(SettingsError) as caught:
        load_settings(None, environ, installed)
    assert str(caught.value) == "CDC_SINK: this needs the extra broker: pip install 'cdc-connector[broker]'"
    assert installed.all()[1] == ["this needs the extra broker: pip install 'cdc-connector[broker]'"]


def test_an_entry_point_that_names_something_else(connectors: InstalledConnectors, environ: dict[str, str]) -> None:
    installed = replace(connectors, sinks=(entry("broker", "cdc_imagined:NONSENSE"),))
    with pytest.raises(SettingsError, match="names no connector"):
        load_settings(None, environ, installed)


def test_settings_of_a_connector_that_is_not_in_use_may_stay(load: Any, wrong: Any) -> None:
    assert load(CDC_PLAIN_KEEP="3").sink.connector.name == "broker"
    assert wrong(CDC_PLAIN_KEPP="3") == ["CDC_PLAIN_KEPP: is unknown; did you mean CDC_PLAIN_KEEP?"]
    assert load(CDC_SINK="out:", CDC_BROKER_LINGER_MS="5").sink.connector.name == "plain"


# -- names that are not ours


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CDC_MEMRY", "CDC_MEMORY"),
        ("CDC_SOURCE_PASSWORD_FIEL", "CDC_SOURCE_PASSWORD_FILE"),
        ("CDC_LOG_SLTO", "CDC_LOG_SLOT"),
    ],
)
def test_an_unknown_variable_names_the_nearest(load: Any, wrong: Any, tmp_path: Path, name: str, nearest: str) -> None:
    line = f"{name}: is unknown; did you mean {nearest}?"
    assert wrong(**{name: "1"}) == [line]
    file = tmp_path / "env"
    file.write_text(f"{name}=1\n")
    assert wrong(file) == [line]


def test_an_unknown_variable_that_is_near_to_nothing(wrong: Any) -> None:
    assert wrong(CDC_BOGUS="1") == ["CDC_BOGUS: is unknown; expected a variable that `cdc settings` lists"]


def test_the_file_of_what_is_no_secret_is_unknown(wrong: Any) -> None:
    assert wrong(CDC_MEMORY_FILE="/x")[0].startswith("CDC_MEMORY_FILE: is unknown")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDC_SERVICE_HOST", "10.0.0.1"),
        ("CDC_SERVICE_PORT", "80"),
        ("CDC_SERVICE_PORT_HTTP", "80"),
        ("CDC_PORT", "tcp://10.0.0.1:80"),
        ("CDC_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("CDC_PORT_80_TCP_PROTO", "tcp"),
        ("CDC_PORT_80_TCP_PORT", "80"),
        ("CDC_PORT_53_UDP_ADDR", "10.0.0.1"),
        ("CDC_SHOP_SERVICE_HOST", "10.0.0.1"),
        ("CDC_SHOP_PORT", "tcp://[fd00::1]:80"),
        ("CDC_BROKER_SERVICE_HOST", "10.0.0.1"),
        ("CDC_BROKER_PORT_9092_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_kubernetes_injects_is_passed_over(load: Any, name: str, value: str) -> None:
    assert not load(**{name: value}).sink.context.settings.model_extra


def test_a_port_that_no_service_link_would_have_is_a_mistake(wrong: Any) -> None:
    assert wrong(CDC_SOURCE_PORT="5432")[0].startswith("CDC_SOURCE_PORT: is unknown")


# -- secrets


def test_a_secret_from_a_file(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content, expected in ((f"{SECRET}\n", SECRET), (f"{SECRET}\r\n", SECRET), ("a\n\n", "a\n"), (" b ", " b ")):
        file.write_bytes(content.encode())
        assert load(CDC_SOURCE_PASSWORD_FILE=str(file)).source.context.password.get_secret_value() == expected
    file.write_text("t")
    assert load(CDC_LOG_TOKEN_FILE=str(file)).source.context.settings.token.get_secret_value() == "t"


def test_a_secret_and_its_file(wrong: Any, tmp_path: Path) -> None:
    line = "CDC_SOURCE_PASSWORD: is given, and CDC_SOURCE_PASSWORD_FILE too; expected one of them"
    assert wrong(CDC_SOURCE_PASSWORD=SECRET, CDC_SOURCE_PASSWORD_FILE=str(tmp_path / "x")) == [line]


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read: No such file"), (b"\n", "is empty"), (b"\xff", "is not UTF-8")]
)
def test_a_secrets_file_that_is_no_good(wrong: Any, tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (line,) = wrong(CDC_SOURCE_PASSWORD_FILE=str(file))
    assert line.startswith("CDC_SOURCE_PASSWORD_FILE: ")
    assert why in line


def test_a_password_leaves_the_url(load: Any) -> None:
    settings = load(CDC_SOURCE="logdb://reader:p%40ss%2Fw@db:5432/shop?application_name=a+b&tls=off")
    context = settings.source.context
    assert context.url == "logdb://reader@db:5432/shop?application_name=a+b"
    assert context.password.get_secret_value() == "p@ss/w"
    assert context.tls == "off"
    assert load(CDC_SOURCE="logdb://h/d?password=abc%20d").source.context.password.get_secret_value() == "abc d"
    assert load(CDC_SINK=f"broker://u:{'x' * 9}@h").sink.context.password.get_secret_value() == "x" * 9


@pytest.mark.parametrize(
    "source",
    ["logdb://u:{}/x@h/d", "logdb://u:a@{}@h/d", "logdb://u:{}#@h/d", "logdb://u:{}?@h/d", "logdb://u:{} @h/d", "{}", "//u:{}@h", "logdb://h/d?sslpassword={}",
     "logdb://u:a@h/d?password={}", "logdb://u:{}@h/d?tls=perhaps"],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_never_quoted(wrong: Any, source: str) -> None:
    (line,) = wrong(CDC_SOURCE=source.format("hunter2"))
    assert line.startswith("CDC_SOURCE: ")
    assert line.endswith("; expected URL, such as postgresql://user@host:5432/db")
    assert "hunter2" not in line


def test_no_secret_in_any_text(load: Any, connectors: InstalledConnectors, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"CDC_SOURCE_PASSWORD={SECRET}\nCDC_LOG_TOKEN={SECRET}\nCDC_BROKER_SASL_PASSWORD={SECRET}\n")
    settings = load(file)
    texts = [str(settings), repr(settings), repr(settings.source), str(settings.engine), str(settings.source.context)]
    texts += [repr(settings.source.context.settings), repr(settings.sink.context.settings.model_extra)]
    assert not any(SECRET in text for text in texts)
    assert settings.source.context.password.get_secret_value() == SECRET


def test_no_secret_in_an_error(wrong: Any) -> None:
    lines = wrong(
        CDC_SOURCE=f"logdb://u:{'S' * 20}@h/d",
        CDC_SOURCE_PASSWORD=SECRET,
        CDC_TRUNCATE=SECRET,
        CDC_TABLES=SECRET,
        CDC_LOG_SLOT=SECRET,
        CDC_LOG_TOKEN=SECRET,
        CDC_MEMORY="S" * 20,
    )
    text = "\n".join(lines)
    assert len(lines) == 4
    assert SECRET not in text
    assert "S" * 20 not in text


def test_a_loaded_secret_is_scrubbed_from_then_on(load: Any) -> None:
    load(CDC_SOURCE_PASSWORD=SECRET, CDC_SINK="broker://u:anotherone@h")
    assert scrub.scrub(f"<{SECRET}> <anotherone>") == "<***> <***>"


# -- what is refused


def test_all_that_is_wrong_is_told_at_once(wrong: Any) -> None:
    lines = wrong(
        CDC_NAME=None,
        CDC_SINK=None,
        CDC_MEMRY="1",
        CDC_MEMORY="much",
        CDC_LOG_SLOT="A",
        CDC_SOURCE_PASSWORD_FILE="/absent",
    )
    assert [line.split(":")[0] for line in lines] == [
        "CDC_SOURCE_PASSWORD_FILE", "CDC_MEMRY", "CDC_NAME", "CDC_SINK", "CDC_MEMORY", "CDC_LOG_SLOT",
    ]  # fmt: skip
    assert lines[4] == "CDC_MEMORY: cannot read 'much' as a size; expected size, at least 1MiB, such as 64MiB or 64MB"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CDC_NAME", "a b", "expected letters"),
        ("CDC_NAME", "shop\n", "expected letters"),
        ("CDC_TABLES", "orders", "cannot read 'orders'"),
        ("CDC_TABLES", "!public.x", "no table is included"),
        ("CDC_CHECKPOINT", "/var/x", "is not a file URL"),
        ("CDC_CHECKPOINT", "file://var/x", "absolute path"),
        ("CDC_CHECKPOINT", "file:///", "absolute path"),
        ("CDC_CHECKPOINT", "file:///a#b", "is not a file URL"),
        ("CDC_CHECKPOINT", "file://[/a", "is not a file URL"),
        ("CDC_CHECKPOINT_INTERVAL", "0", "expected seconds, above 0"),
        ("CDC_CHECKPOINT_INTERVAL", "nan", "expected seconds"),
        ("CDC_SHUTDOWN_TIMEOUT", "inf", "expected seconds"),
        ("CDC_SNAPSHOT", "initial", "expected never"),
        ("CDC_RETRY_LIMIT", "-1", "expected seconds, 0 for ever"),
        ("CDC_MEMORY", "64MX", "as a size"),
        ("CDC_MEMORY", "-1", "as a size"),
        ("CDC_MEMORY", "1000", "at least 1MiB"),
        ("CDC_TOPIC", "{tabel}", "unknown placeholder {tabel}"),
        ("CDC_TOPIC", "{table", "without its other half"),
        ("CDC_TOPIC", "a/{table}", "no topic may have"),
        ("CDC_TOPIC", "{table!r}", "unknown placeholder"),
        ("CDC_MESSAGE_TOPIC", "{table}", "unknown placeholder"),
        ("CDC_GAP_TOPIC", "g" * 250, "gives a topic of 250 characters"),
        ("CDC_KEYS", "public.orders", "cannot read"),
        ("CDC_KEYS", "public.orders=", "ends too early"),
        ("CDC_KEYS", "public.orders=id,", "ends too early"),
        ("CDC_KEYS", "public.*=id", "cannot read"),
        ("CDC_KEYS", "public.orders=id,id", "names a column of public.orders twice"),
        ("CDC_KEYS", "public.orders=a;public.orders=b", "names public.orders twice"),
        ("CDC_KEYS", "other.t=id", "which CDC_TABLES does not select"),
        ("CDC_TOMBSTONES", "perhaps", "expected true | false"),
        ("CDC_HEADERS", "id,nope", "'nope' is no header"),
        ("CDC_HEADERS", "id,id", "twice"),
        ("CDC_DEAD_LETTER", "/dir", "is not a file URL"),
        ("CDC_HEALTH_SOCKET", "x.sock", "is not an absolute path"),
        ("CDC_LOG_LEVEL", "loud", "expected debug | info | warning | error"),
        ("CDC_SOURCE_TLS_CA", "/absent/ca.pem", "cannot be read"),
        ("CDC_LOG_INTERVAL", "0", "expected number, above 0"),
        ("CDC_LOG_CREATE", "slot,table", "expected comma list of publication, slot"),
    ],
)
def test_a_wrong_value(wrong: Any, variable: str, value: str, words: str) -> None:
    (line,) = wrong(**{variable: value})
    assert line.startswith(f"{variable}: ")
    assert words in line


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 2**20),
        ("64MiB", 2**26),
        ("64MB", 64 * 10**6),
        ("2 gib", 2**31),
        ("1.5MiB", 3 * 2**19),
        ("2048kib", 2**21),
    ],
)
def test_sizes(load: Any, text: str, size: int) -> None:
    assert load(CDC_MEMORY=text).engine.memory == size


def test_two_words_on_one_matter(load: Any, wrong: Any) -> None:
    both = "logdb://u:abcdef@h/d?tls=off"
    assert wrong(CDC_SOURCE=both, CDC_SOURCE_TLS="require", CDC_SOURCE_PASSWORD="x") == [
        "CDC_SOURCE_PASSWORD: is given although the URL holds a password too; give one",
        "CDC_SOURCE_TLS: is require, but the URL says tls=off",
    ]
    assert load(CDC_SOURCE=both, CDC_SOURCE_TLS="off").source.context.tls == "off"


def test_an_env_file_that_cannot_be_read(wrong: Any, tmp_path: Path) -> None:
    assert wrong(tmp_path / "absent") == [f"env file {tmp_path}/absent: cannot be read: No such file or directory"]


# -- the digest


def test_every_field_is_judged_for_the_digest() -> None:
    apart = {
        "source", "source_password", "source_tls", "source_tls_ca", "sink", "checkpoint", "checkpoint_interval", "snapshot",
        "on_position_lost", "retry_limit", "memory", "dead_letter", "health_socket", "log_format", "log_level",
        "shutdown_timeout",
    }  # fmt: skip
    assert set(DELIVERED) | apart == set(EngineSettings.model_fields)
    assert not set(DELIVERED) & apart


@pytest.mark.parametrize(
    "change",
    [
        {"CDC_NAME": "other"},
        {"CDC_SOURCE": "logdb://reader@db.example:5432/other"},
        {"CDC_SINK": "broker://other"},
        {"CDC_TABLES": "public.orders"},
        {"CDC_KEYS": "public.orders=id"},
        {"CDC_TOPIC": "{table}"},
        {"CDC_HEADERS": "id"},
        {"CDC_TOMBSTONES": "false"},
        {"CDC_TRUNCATE": "off"},
        {"CDC_INVALID_TEXT": "base64"},
        {"CDC_LOG_SLOT": "a"},
        {"CDC_BROKER_LINGER_MS": "7"},
    ],
)
def test_what_changes_the_digest(load: Any, change: dict[str, str]) -> None:
    assert load(**change).digest != load().digest


@pytest.mark.parametrize(
    "change",
    [
        {"CDC_SOURCE": "logdb://somebody:else@db.example:5432/shop?tls=off"},
        {"CDC_SOURCE_PASSWORD": "x"},
        {"CDC_LOG_TOKEN": "x"},
        {"CDC_BROKER_SASL_PASSWORD": "x"},
        {"CDC_LOG_LEVEL": "debug"},
        {"CDC_CHECKPOINT_INTERVAL": "3"},
        {"CDC_LOG_INTERVAL": "3"},
        {"CDC_MEMORY": "1MiB"},
    ],
)
def test_what_does_not_change_the_digest(load: Any, change: dict[str, str]) -> None:
    assert load(**change).digest == load().digest
