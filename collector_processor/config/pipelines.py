"""The pipelines: the receivers and exporters of each signal, with the checks that the Collector makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector_processor.config.reading import Reading
from collector_processor.config.words import did_you_mean, unknown_key
from collector_processor.exporters.registry import EXPORTERS

SIGNALS: Final = ("traces", "logs", "metrics")


@dataclass(frozen=True, slots=True)
class SignalPipeline:
    """The receivers and exporters of one signal; the connector is on either side under its id."""

    receivers: tuple[str, ...]
    exporters: tuple[str, ...]
    signal: str


def known(reading: Reading, names: Sequence[str], path: str, section: str, known: Mapping[str, object]) -> None:
    """Report the ids at ``path`` that the section ``section`` does not configure."""
    for name in names:
        if name not in known:
            choices = ", ".join(known) or f"none, because the {section} section is empty"
            meant = did_you_mean(name, known)
            reading.problems.append(f"{path}: {name!r} is not configured; available: {choices}{meant}")


def pipelines(
    reading: Reading,
    value: object,
    receivers: Mapping[str, object],
    connectors: Mapping[str, object],
    exporters: Mapping[str, object],
) -> dict[str, SignalPipeline]:
    """Return the pipelines by id (``traces``, ``traces/2``), after the checks that the Collector makes at start."""
    flows: dict[str, SignalPipeline] = {}
    wanted = reading.mapping(value, "service.pipelines")
    if not wanted:
        reading.problems.append(
            "service.pipelines: required, for example traces: {receivers: [otlp], exporters: [ml_monitor]}"
        )
    for name, settings in wanted.items():
        path = f"service.pipelines.{name}"
        signal, slash, rest = name.partition("/")
        if signal not in SIGNALS or (slash and not rest):
            reading.problems.append(f"{path}: {unknown_key(name, SIGNALS)}")
            continue
        ends = reading.mapping(settings, path, ("receivers", "exporters"))
        sources, sinks = (reading.names(ends.get(end), f"{path}.{end}") for end in ("receivers", "exporters"))
        derives = signal == "metrics"
        known(reading, sources, f"{path}.receivers", "receivers", {**receivers, **(connectors if derives else {})})
        known(reading, sinks, f"{path}.exporters", "exporters", {**exporters, **connectors})
        for end, names in (("receivers", sources), ("exporters", sinks)):
            if not names:
                reading.problems.append(f"{path}.{end}: must list at least one")
        for both in sorted({*sources} & {*sinks} & {*connectors}):
            reading.problems.append(f"{path}: leads from {both!r} back into it; use a pipeline for each direction")
        _forwards_only(reading, path, signal, sources, sinks, connectors)
        flows[name] = SignalPipeline(sources, sinks, signal)
    _one_source(reading, flows, connectors)
    return flows


def _one_source(reading: Reading, flows: Mapping[str, SignalPipeline], connectors: Mapping[str, object]) -> None:
    """Report pipelines of one signal with different receivers: every consumer reads all that comes of a signal."""
    first: dict[str, tuple[str, set[str]]] = {}
    for name, flow in flows.items():
        receivers = {each for each in flow.receivers if each not in connectors}
        if not receivers:
            continue
        other, expected = first.setdefault(flow.signal, (name, receivers))
        if receivers != expected:
            reading.problems.append(
                f"service.pipelines.{name}.receivers: must list the same receivers as service.pipelines.{other}: "
                f"{', '.join(sorted(expected))}"
            )


def _forwards_only(
    reading: Reading,
    path: str,
    signal: str,
    sources: Sequence[str],
    sinks: Sequence[str],
    connectors: Mapping[str, object],
) -> None:
    """Report exporters that would get what they do not accept: measurements come from the connector, originals not."""
    only_originals = signal != "metrics" or not any(name in connectors for name in sources)
    forwarders = [kind for kind, component in EXPORTERS.components.items() if "originals" in component.takes]
    for name in sinks:
        component = EXPORTERS.components.get(EXPORTERS.type_of(name))
        if component is None:
            continue  # the connector, or one that is not configured
        if component.takes == ("alerts",):
            reading.problems.append(f"{path}.exporters: {name!r} accepts only alerts; list it in alerts.notify")
        elif not only_originals and "measurements" not in component.takes:
            reading.problems.append(f"{path}.exporters: {name!r} does not accept measurements from ml_monitor")
        elif only_originals and "originals" not in component.takes:
            reading.problems.append(
                f"{path}.exporters: {name!r} accepts only measurements from ml_monitor; "
                f"forward originals with {' or '.join(forwarders)}"
            )
