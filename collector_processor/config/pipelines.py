"""The pipelines: which receivers and exporters a signal flows between, with the checks that the Collector makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.config.reading import Reading
from collector_processor.exporters.registry import EXPORTERS

SIGNALS: Final = ("traces", "logs", "metrics")


@dataclass(frozen=True, slots=True)
class SignalPipeline:
    """Which receivers and exporters a signal flows between; the connector stands on either side under its id."""

    receivers: tuple[str, ...]
    exporters: tuple[str, ...]


def known(reading: Reading, names: Sequence[str], path: str, section: str, known: Mapping[str, object]) -> None:
    """Report the ids at ``path`` that the section ``section`` does not have."""
    for name in names:
        if name not in known:
            choices = ", ".join(known) or f"nothing: the {section} section is empty"
            reading.problems.append(f"{path}: {name!r} is not configured; there is: {choices}")


def pipelines(
    reading: Reading,
    value: object,
    receivers: Mapping[str, object],
    connectors: Mapping[str, object],
    exporters: Mapping[str, object],
) -> dict[str, SignalPipeline]:
    """The pipelines by signal, with the same checks that the Collector makes at start."""
    found: dict[str, SignalPipeline] = {}
    wanted = reading.mapping(value, "service.pipelines", SIGNALS)
    if not wanted:
        reading.problems.append(
            "service.pipelines: required; such as traces: {receivers: [otlp], exporters: [ml_monitor]}"
        )
    for signal, settings in wanted.items():
        path = f"service.pipelines.{signal}"
        ends = reading.mapping(settings, path, ("receivers", "exporters"))
        sources, sinks = (reading.names(ends.get(end), f"{path}.{end}") for end in ("receivers", "exporters"))
        derives = signal == "metrics"
        known(reading, sources, f"{path}.receivers", "receivers", {**receivers, **(connectors if derives else {})})
        known(reading, sinks, f"{path}.exporters", "exporters", {**exporters, **({} if derives else connectors)})
        for end, names in (("receivers", sources), ("exporters", sinks)):
            if not names:
                reading.problems.append(f"{path}.{end}: must name at least one")
        _forwards_only(reading, path, signal, sources, sinks, connectors)
        found[signal] = SignalPipeline(sources, sinks)
    return found


def _forwards_only(
    reading: Reading,
    path: str,
    signal: str,
    sources: Sequence[str],
    sinks: Sequence[str],
    connectors: Mapping[str, object],
) -> None:
    """Each exporter gets only what it takes: measurements from the connector, originals from receivers."""
    only_originals = signal != "metrics" or not any(name in connectors for name in sources)
    forwarders = [kind for kind, component in EXPORTERS.components.items() if "originals" in component.takes]
    for name in sinks:
        component = EXPORTERS.components.get(EXPORTERS.type_of(name))
        if component is None:
            continue  # the connector, or one that is not configured
        if component.takes == ("alerts",):
            reading.problems.append(f"{path}.exporters: {name!r} takes alerts only; name it in alerts.notify")
        elif only_originals and "originals" not in component.takes:
            reading.problems.append(
                f"{path}.exporters: {name!r} takes the measurements of ml_monitor only; "
                f"forward originals with {' or '.join(forwarders)}"
            )
