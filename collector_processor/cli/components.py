"""``otel-ml components``: the list of what there is, read from the registries."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector_processor.cli.main import Parser
from collector_processor.cli.options import width
from collector_processor.components import Registry
from collector_processor.config.load import CONNECTORS
from collector_processor.decode import decoder_name
from collector_processor.drift import DRIFT_METHODS
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.service.compiled_parts import PARTS

_MARKUP: Final = re.compile(r"(?::\w+:)?`+([^`]+)`+")


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        "List every receiver, connector, exporter, extension, monitor and drift method, the decoder in use, and which "
        "parts are compiled."
    )
    parser.set_defaults(run=_components)


def _components(_: argparse.Namespace) -> int:
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "description"):
        table.add_column(heading)
    for component in components():
        table.add_row(component.kind, Text(component.name), Text(component.text))
    Console(soft_wrap=True, highlight=False, width=width()).print(table)
    return 0


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the list."""

    kind: str
    name: str
    text: str


def components() -> Iterator[Component]:
    """Return every receiver, connector, exporter, extension, monitor and drift method, the decoder and compiled parts.

    >>> [item.name for item in components() if item.kind == "receiver"]
    ['otlp', 'inference_logger']
    """
    yield from _registered(RECEIVERS)
    for name, settings in CONNECTORS.items():
        yield Component("connector", name, _first_line(settings))
    yield from _registered(EXPORTERS)
    yield from _registered(EXTENSIONS)
    for name, problem in {**RECEIVERS.broken, **EXPORTERS.broken, **EXTENSIONS.broken}.items():
        yield Component("broken", name, problem)
    for monitor in MONITOR_TYPES:
        yield Component("monitor", monitor.name, _first_line(monitor))
    for method in DRIFT_METHODS:
        yield Component("drift method", method.name, f"{_first_line(type(method))} ({', '.join(method.kinds)})")
    yield Component("decoder", decoder_name(), "in use")
    for part in PARTS:
        yield Component("compiled part", part.name, f"{part.work}: {'built' if part.built else 'not built'}")


def _registered(registry: Registry[Any]) -> Iterator[Component]:
    for name, component in registry.components.items():
        yield Component(component.kind, name, component.summary)


def _first_line(thing: object) -> str:
    line = (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")
    return _MARKUP.sub(lambda match: match[1].lstrip("~."), line)
