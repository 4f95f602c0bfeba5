"""Converts the engine's state to JSON and back: firing and pending alerts survive a restart."""

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
    """Return the state of the engine, for the header of a snapshot."""
    return {
        "rules": {name: _book_state(book) for name, book in engine.books.items()},
        "groups": [_group_state(group) for group in engine.groups.values()],
    }


def restore_engine(engine: Engine, state: Mapping[str, Json], now_ns: int) -> None:
    """Restore a saved state into a new engine; downtime of the service does not count as silence of a model.

    A rule that was removed, or judges something else now, starts from nothing; alerts it had sent resolve. Raises
    ``ValueError`` for an invalid state, and leaves the engine as it was.
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
        elif group.notified_ns is not None:
            engine.orphaned.append(group.resolved_notice("rule_gone", now_ns))


def _book_state(book: Book) -> Json:
    rule = book.rule
    return {
        "judges": _judges(rule),
        "series": [
            [item.attributes, item.status, item.value, item.since_ns, item.window_ns, item.notified, item.words]
            for item in book.series.values()
        ],
    }


def _judges(rule: AlertRule) -> Json:
    """Return what must be unchanged for a saved state to keep its meaning; thresholds and times may change."""
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
        "told_ns": group.notified_ns,
        "last": [[[each.attributes, each.value, each.words] for each in offenders], count, window_ns],
    }


def _series(engine: Engine, name: str, saved: Json, now_ns: int) -> list[Series] | None:
    """Return the series of a rule; None if the rule was removed or judges something else."""
    book = engine.books.get(name)
    if book is None or saved["judges"] != _judges(book.rule):
        return None
    if not all(entry[0] for entry in saved["series"]):
        raise ValueError("a series has no attributes")
    return [
        Series(
            _attributes(attributes),
            _STATUS[status],
            float(value),
            int(since_ns),
            int(window_ns),
            now_ns,
            bool(notified),
            *_words(words),
        )
        for attributes, status, value, since_ns, window_ns, notified, *words in saved["series"]
    ]


def _group(engine: Engine, saved: Json, books: Mapping[str, list[Series] | None]) -> Group:
    name, version = saved["model"]
    book, model = engine.books.get(saved["rule"]), ModelKey(str(name), str(version))
    offenders, count, window_ns = saved["last"]
    saved_rule = AlertRule(
        saved["rule"], saved["measurement"], saved["condition"], severity=saved["severity"], summary=saved["summary"]
    )
    notified_ns = saved["told_ns"]  # the key of version 0.1.0
    group = Group(
        saved_rule if book is None else book.rule,
        model,
        int(saved["started_ns"]),
        notified_ns=None if notified_ns is None else int(notified_ns),
        last=(
            tuple(
                Offender(_attributes(attributes), float(value), *_words(words))
                for attributes, value, *words in offenders
            ),
            int(count),
            int(window_ns),
        ),
    )
    for series in books.get(saved["rule"]) or ():
        if series.status == "firing" and series.model() == model:
            group.firing[series.attributes] = series
    return group


def _words(words: Json) -> tuple[str, ...]:
    """Return the words of a series, which version 0.1.0 did not have; ``ValueError`` if they are not one text."""
    if len(words) > 1 or not all(isinstance(text, str) for text in words):
        raise ValueError(f"{words!r} are not the words of a series")
    return tuple(words)


def _attributes(pairs: Json) -> Attributes:
    """Return attributes from JSON; ``ValueError`` if they are not pairs of texts."""
    attributes = tuple((key, value) for key, value in pairs)
    if not all(isinstance(part, str) for pair in attributes for part in pair):
        raise ValueError(f"{pairs!r} is not a list of attributes")
    return attributes
