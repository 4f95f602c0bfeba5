"""What this build is made of: the list behind ``otel-ml components``, read from the registries themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from collector_processor.config.load import CONNECTOR_TYPES, EXPORTER_TYPES, EXTENSION_TYPES, RECEIVER_TYPES
from collector_processor.decode import decoder_name
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.service.compiled_parts import PARTS

_MARKUP: Final = re.compile(r"(?::\w+:)?`+([^`]+)`+")


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the list."""

    kind: str
    name: str
    text: str


def components() -> Iterator[Component]:
    """Every receiver, connector, exporter, extension, monitor and drift method, the decoder, and the compiled parts.

    >>> [item.name for item in components() if item.kind == "receiver"]
    ['otlp']
    """
    for kind, types in (
        ("receiver", RECEIVER_TYPES),
        ("connector", CONNECTOR_TYPES),
        ("exporter", EXPORTER_TYPES),
        ("extension", EXTENSION_TYPES),
    ):
        for name, settings in types.items():
            yield Component(kind, name, _first_line(settings))
    for monitor in MONITOR_TYPES:
        yield Component("monitor", monitor.name, _first_line(monitor))
    for method in DRIFT_METHODS:
        yield Component("drift method", method.name, f"{_first_line(type(method))} ({', '.join(method.kinds)})")
    yield Component("decoder", decoder_name(), "in use")
    for part in PARTS:
        yield Component("compiled part", part.name, f"{part.work}: {'built' if part.built else 'not built'}")


def _first_line(thing: object) -> str:
    line = (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
    return _MARKUP.sub(lambda match: match[1].lstrip("~."), line)
