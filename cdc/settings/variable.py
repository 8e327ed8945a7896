"""What can be told of a variable without its value: the one table behind validation messages and generated pages."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from cdc.settings.variables import PREFIX

# The last word of a name that a driver, not we, declares: enough to keep the value out of sight.
_SECRET_WORDS: Final = frozenset({"PASSWORD", "PASSPHRASE", "SECRET", "PEM", "TOKEN"})
_LISTS: Final = (tuple, list, set, frozenset)


@dataclass(frozen=True, slots=True)
class Kind:
    """Put into a field's `Annotated`: which text it takes, in the documentation's words, and one that it takes."""

    text: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.text}, such as {self.example}" if self.example else self.text


@dataclass(frozen=True, slots=True)
class Variable:
    """`kind` says what text is expected; `default` is the text that gives the default, empty where there is none.

    A single one of `choices` may be given, or where it `is_list` several.
    """

    name: str
    field: str
    kind: str
    default: str
    description: str
    required: bool
    secret: bool
    choices: tuple[str, ...]
    example: str
    is_list: bool


def connector_prefix(connector: str) -> str:
    return f"{PREFIX}{connector.upper().replace('-', '_')}_"


def takes_any(model: type[BaseModel]) -> bool:
    """Whether further variables with the connector's prefix go to its driver."""
    return model.model_config.get("extra") == "allow"


def variables_of(model: type[BaseModel], prefix: str) -> list[Variable]:
    return [_variable(f"{prefix}{name.upper()}", name, field) for name, field in model.model_fields.items()]


def named_like_secret(name: str) -> bool:
    return name.rpartition("_")[2] in _SECRET_WORDS


def _variable(name: str, field_name: str, field: FieldInfo) -> Variable:
    plain = [a for a in _alternatives(field.annotation) if a is not type(None)]
    items = [each for a in plain for each in (get_args(a) if get_origin(a) in _LISTS else (a,))]
    choices = tuple(str(c) for a in items if get_origin(a) is Literal for c in get_args(a))
    secret = any(a in (SecretStr, SecretBytes) for a in plain)
    return Variable(
        name=name,
        field=field_name,
        kind=_kind(field, plain, choices, secret),
        default=_default(field),
        description=" ".join((field.description or "").split()),
        required=field.is_required(),
        secret=secret,
        choices=choices,
        example=own.example if (own := _own_kind(field)) else "",
        is_list=any(get_origin(a) in _LISTS for a in plain),
    )


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _own_kind(field: FieldInfo) -> Kind | None:
    return next((item for item in field.metadata if isinstance(item, Kind)), None)


def _kind(field: FieldInfo, plain: list[Any], choices: tuple[str, ...], secret: bool) -> str:
    if own := _own_kind(field):
        return str(own)
    if choices and any(get_origin(a) in _LISTS for a in plain):
        return f"comma list of {', '.join(choices)}"
    if choices:
        return " | ".join(choices)
    if secret:
        return "text, secret"
    names = {bool: "true | false", int: "whole number", float: "number"}
    text = next((names[a] for a in plain if a in names), "text")
    return ", ".join([text, *_bounds(field)])


def _bounds(field: FieldInfo) -> Iterator[str]:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    for item in field.metadata:
        for attribute, word in words.items():
            if (bound := getattr(item, attribute, None)) is not None:
                yield f"{word} {bound}"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    if field.is_required() or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list, frozenset, set)):
        return ",".join(map(str, value))
    return str(value)
