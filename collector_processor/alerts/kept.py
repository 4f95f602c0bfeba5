"""The engine's state as JSON and back: what fires and what is pending outlives a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collector_processor.alerts.engine import Engine
from collector_processor.alerts.notice import Offender
from collector_processor.alerts.rules import AlertRule
from collector_processor.alerts.series import Book, Group, Series, Status
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import Attributes

Json = Any
_STATUS: Mapping[str, Status] = {"seen": "seen", "pending": "pending", "firing": "firing"}


def engine_state(engine: Engine) -> dict[str, Json]:
    """Everything that the engine keeps in mind, fit for a snapshot's header."""
    return {
        "rules": {name: _book_state(book) for name, book in engine.books.items()},
        "groups": [_group_state(group) for group in engine.groups.values()],
    }


def restore_engine(engine: Engine, state: Mapping[str, Json], now_ns: int) -> None:
    """Brings a fresh engine to a saved state; time that the service was down is no silence.

    A rule that is gone, or judges something else now, starts afresh; what it had told to fire resolves. Raises
    ``ValueError`` for what is no such state, and the engine stays as it was.
    """
    try:
        books = {name: _series(engine, name, saved, now_ns) for name, saved in state["rules"].items()}
        groups = [_group(engine, saved, books) for saved in state["groups"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the saved alerts cannot be used: {error!r}") from error
    for name, series in books.items():
        if series is not None:
            engine.books[name].series.update((item.attributes, item) for item in series)
    for group in groups:
        if group.rule.name in engine.books and books.get(group.rule.name) is not None:
            engine.groups[group.rule.name, group.model] = group
        elif group.told_ns is not None:
            engine.gone.append(group.resolved_notice("rule_gone", now_ns))


def _book_state(book: Book) -> Json:
    rule = book.rule
    return {
        "judges": _judges(rule),
        "series": [
            [item.attributes, item.status, item.value, item.since_ns, item.window_ns, item.told]
            for item in book.series.values()
        ],
    }


def _judges(rule: AlertRule) -> Json:
    """What must be the same for a saved state to mean the same; thresholds and times may change."""
    return [rule.measurement, rule.condition, [[key, [*values]] for key, values in rule.where]]


def _group_state(group: Group) -> Json:
    offenders, count, window_ns = group.last
    return {
        "rule": group.rule.name,
        "measurement": group.rule.measurement,
        "condition": group.rule.condition,
        "severity": group.rule.severity,
        "summary": group.rule.summary,
        "model": [group.model.name, group.model.version],
        "started_ns": group.started_ns,
        "told_ns": group.told_ns,
        "last": [[[offender.attributes, offender.value] for offender in offenders], count, window_ns],
    }


def _series(engine: Engine, name: str, saved: Json, now_ns: int) -> list[Series] | None:
    """The series of a rule; None where the rule is gone or judges something else."""
    book = engine.books.get(name)
    if book is None or saved["judges"] != _judges(book.rule):
        return None
    if not all(entry[0] for entry in saved["series"]):
        raise ValueError("a series has no attributes")
    return [
        Series(
            _attributes(attributes), _STATUS[status], float(value), int(since_ns), int(window_ns), now_ns, bool(told)
        )
        for attributes, status, value, since_ns, window_ns, told in saved["series"]
    ]


def _group(engine: Engine, saved: Json, books: Mapping[str, list[Series] | None]) -> Group:
    name, version = saved["model"]
    book, model = engine.books.get(saved["rule"]), ModelKey(str(name), str(version))
    offenders, count, window_ns = saved["last"]
    then = AlertRule(
        saved["rule"], saved["measurement"], saved["condition"], severity=saved["severity"], summary=saved["summary"]
    )
    told_ns = saved["told_ns"]
    group = Group(
        then if book is None else book.rule,
        model,
        int(saved["started_ns"]),
        told_ns=None if told_ns is None else int(told_ns),
        last=(
            tuple(Offender(_attributes(attributes), float(value)) for attributes, value in offenders),
            int(count),
            int(window_ns),
        ),
    )
    for series in books.get(saved["rule"]) or ():
        if series.status == "firing" and series.model() == model:
            group.firing[series.attributes] = series
    return group


def _attributes(pairs: Json) -> Attributes:
    """Attributes from JSON; ``ValueError`` where these are no pairs of texts."""
    found = tuple((key, value) for key, value in pairs)
    if not all(isinstance(part, str) for pair in found for part in pair):
        raise ValueError(f"{pairs!r} are no attributes")
    return found
