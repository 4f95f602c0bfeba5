"""Reads the body of a request: one label as a JSON object, or a list of them, each checked field by field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, cast

from otel_ml.feedback.answers import RefusedError, Wrong

FIELDS: Final = ("model", "prediction_id", "class", "value", "at")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_LONGEST_NAME: Final = 256
_LATEST_S: Final = 9.2e9
"""Unix seconds whose nanoseconds fit into 64 bits: until the year 2261."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label that can be sent."""

    model: str
    prediction_id: str | int
    class_: str | int | float | bool | None
    value: float | None
    time_ns: int | None


def labels_of(body: bytes, models: Collection[str], most: int) -> list[Label]:
    """Return the labels of a body; raises :class:`.RefusedError`, and then none of them counts.

    ``models`` are those that labels may name, empty for any. ``most`` is the number of labels of one request.
    """
    content = _json(body)
    many = isinstance(content, list)
    items: list[object] = cast("list[object]", content) if many else [content]
    if len(items) > most:
        raise RefusedError(413, f"{len(items):,} labels in one request; allowed: at most {most:,}")
    wrong: list[Wrong] = []
    labels: list[Label] = []
    for position, item in enumerate(items):
        label = _label(item, f"/{position}" if many else "", models, wrong)
        if label is not None:
            labels.append(label)
    if wrong:
        raise RefusedError(422, f"{wrong[0].pointer or 'the body'}: {wrong[0].detail}; no label was taken", wrong)
    return labels


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise RefusedError(400, f"the body is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise RefusedError(400, "the body is nested too deep; a label is a flat object") from None
    except ValueError as error:
        raise RefusedError(400, f"the body is not JSON: {error}"[:300]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {next(key for key in keys if keys.count(key) > 1)[:50]!r} twice")
    return content


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number in JSON")


def _label(item: object, where: str, models: Collection[str], wrong: list[Wrong]) -> Label | None:
    """Return a label; None if anything is wrong, which is appended to ``wrong``."""
    if not isinstance(item, dict):
        wrong.append(Wrong(where, f"must be an object with {', '.join(FIELDS)}"))
        return None
    given = {key: value for key, value in cast("dict[str, Any]", item).items() if value is not None}
    before = len(wrong)
    for name in sorted(given.keys() - set(FIELDS)):
        near = get_close_matches(name, FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        wrong.append(Wrong(f"{where}/{_escaped(name)}", f"is not a field; allowed: {', '.join(FIELDS)}{hint}"))
    read = {name: _READ[name](given[name]) for name in FIELDS if name in given}
    wrong += [Wrong(f"{where}/{name}", part.why) for name, part in read.items() if isinstance(part, _Not)]
    model = read.get("model", next(iter(models)) if len(models) == 1 else None)
    if model is None:
        wrong.append(Wrong(f"{where}/model", "is missing; write the name of the model"))
    elif models and model not in models and isinstance(model, str):
        wrong.append(Wrong(f"{where}/model", f"is not a model of this route; allowed: {_listed(sorted(models))}"))
    if "prediction_id" not in read:
        wrong.append(Wrong(f"{where}/prediction_id", "is missing; write the id of the prediction"))
    if "class" not in read and "value" not in read:
        wrong.append(Wrong(f"{where}/class", "is missing; write class or value"))
    if len(wrong) > before:
        return None
    fields: dict[str, Any] = read
    return Label(str(model), fields["prediction_id"], fields.get("class"), fields.get("value"), fields.get("at"))


@dataclass(frozen=True, slots=True)
class _Not:
    """What a field must be, and is not."""

    why: str


def _text(value: object) -> object:
    fits = isinstance(value, str) and value.strip() and len(value) <= _LONGEST_NAME
    return value if fits else _Not(f"must be a text of 1 to {_LONGEST_NAME} characters")


def _id(value: object) -> object:
    fits = (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool))
    return value if fits else _Not("must be a text that is not empty, or a whole number")


def _class(value: object) -> object:
    fits = bool(value) if isinstance(value, str) else _is_finite(value) or isinstance(value, bool)
    return value if fits else _Not("must be a text that is not empty, a number, true or false")


def _value(value: object) -> object:
    return _float(value) if _is_finite(value) else _Not("must be a finite number")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(_float(value))


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _at(value: object) -> object:
    if _is_finite(value):
        seconds = _float(value)
        if 0 < seconds < _LATEST_S:
            return round(cast("float", value) * 1e6) * 1000
        return _Not("must be Unix seconds, not milliseconds, between the years 1970 and 2261")
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return _Not("must be a time such as 2026-11-29T12:00:00Z, or Unix seconds")
    day, clock, fraction, zone = found.groups()
    if zone is None:
        return _Not("has no time zone; write 2026-11-29T12:00:00Z, or an offset such as +01:00")
    try:
        zone = "+00:00" if zone in "Zz" else zone
        seconds = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}").timestamp()
    except ValueError as error:
        return _Not(f"is not a time: {error}")
    return _at(seconds)


_READ: Final = {"model": _text, "prediction_id": _id, "class": _class, "value": _value, "at": _at}


def _escaped(name: str) -> str:
    """Return a key as a part of a JSON pointer (RFC 6901), shortened."""
    return name[:50].replace("~", "~0").replace("/", "~1")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
