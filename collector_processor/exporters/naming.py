"""Names in Prometheus: the standard translation of OTLP names, so that scraped and pushed series are the same.

This follows the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", with unit and type suffixes,
as Prometheus's own OTLP endpoint and the Collector's exporters do by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

_UNITS: Final = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
    "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_A_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")


@lru_cache(maxsize=4096)
def prometheus_name(name: str, unit: str, kind: Literal["gauge", "counter"]) -> str:
    """Return the series name of a metric, with the ``_total`` of counters; ``ValueError`` without a letter or digit.

    Dots and all other invalid characters become one ``_``. The word of the unit is appended unless the name contains
    it; a unit in braces has none. Counters end in ``_total``, gauges of unit 1 in ``_ratio``.

    >>> prometheus_name("ml.latency.p50", "s", "gauge"), prometheus_name("ml.predictions", "{prediction}", "counter")
    ('ml_latency_p50_seconds', 'ml_predictions_total')
    >>> prometheus_name("ml.quality.missing", "1", "gauge"), prometheus_name("ml.drift.score", "{score}", "gauge")
    ('ml_quality_missing_ratio', 'ml_drift_score')
    """
    words = [word for word in _NOT_IN_A_NAME.split(name) if word]
    main, per = _unit_words(unit)
    words += [word for word in (main, per) if word and word not in words]
    if kind == "counter":
        words = [word for word in words if word != "total"] + ["total"]
    elif unit == "1":
        words = [word for word in words if word != "ratio"] + ["ratio"]
    joined = "_".join(words)
    if not _NOT_IN_A_NAME.sub("", name):
        raise ValueError(f"metric {name!r} has no letter or digit, so it has no name in Prometheus")
    return f"_{joined}" if joined[0].isdigit() else joined


def _unit_words(unit: str) -> tuple[str, str]:
    """Return the words of a UCUM unit: of its numerator, and ``per_…`` of its denominator."""
    main, _, per = (part.strip() for part in unit.partition("/"))
    main_word = "" if "{" in main or "}" in main else _UNITS.get(main, main)
    per_word = "" if "{" in per or "}" in per else _PER.get(per, per)
    return _cleaned(main_word), _cleaned(f"per_{per_word}") if _cleaned(per_word) else ""


def _cleaned(word: str) -> str:
    return _NOT_IN_A_NAME.sub("_", word).strip("_")


@lru_cache(maxsize=4096)
def label_name(key: str) -> str:
    """Return the label name of an attribute.

    >>> label_name("ml.model.name"), label_name("2nd"), label_name("_hidden"), label_name("größe")
    ('ml_model_name', 'key_2nd', 'key_hidden', 'gr__e')
    """
    name = _NOT_IN_A_LABEL.sub("_", key)
    if name[:1].isdigit():
        return f"key_{name}"
    return f"key{name}" if name.startswith("_") and not name.startswith("__") else name


def labels(attributes: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return attributes as sorted labels; the values of keys that become one label are joined by ``;`` in key order.

    In Prometheus an empty value is the same as no label, so it is left out.

    >>> labels([("ml.model.name", "fraud"), ("a.b", "2"), ("a-b", "1"), ("ml.model.version", "")])
    (('a_b', '1;2'), ('ml_model_name', 'fraud'))
    """
    pairs: dict[str, str] = {}
    for key, value in sorted(attributes):
        name = label_name(key)
        if value:
            pairs[name] = f"{pairs[name]};{value}" if name in pairs else value
    return tuple(sorted(pairs.items()))
