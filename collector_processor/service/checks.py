"""Checks before a start, beyond the configuration's own grammar: files, packages, addresses, loops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from collector_processor.config import Config, ConfigError
from collector_processor.config.load import ADMIN_KEY
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.reference.file import load_reference
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import answers
from collector_processor.settings.target import parse_target
from collector_processor.settings.values import listener_place, overlap


def check_setup(config: Config) -> None:
    """Raise :class:`ConfigError` with everything that keeps this configuration from running on this machine."""
    problems = [*_component_problems(config), *_address_problems(config)]
    if problems:
        raise ConfigError(config.origin, problems)


def exposures(config: Config) -> Iterator[str]:
    """Return what the configuration leaves unprotected, in words for the log; loopback counts as safe."""
    for key, settings in config.parts():
        yield from answers(key, settings.exposures)


def _component_problems(config: Config) -> Iterator[str]:
    """Packages that are missing and files that cannot be used."""
    for registry, section, components in (
        (RECEIVERS, "receivers", config.receivers),
        (EXPORTERS, "exporters", config.exporters),
        (EXTENSIONS, "extensions", config.extensions),
    ):
        for name, settings in components.items():
            key = f"{section}.{name}"
            missing = list(registry.component(name).missing(key))
            yield from missing
            if not missing:
                for part_key, part in settings.parts(key):
                    yield from answers(part_key, part.problems)
    for part_key, part in config.admin.parts(ADMIN_KEY):
        yield from answers(part_key, part.problems)


def _address_problems(config: Config) -> Iterator[str]:
    """Addresses that two listeners claim, and exporters that lead back into this service."""
    listened = [item for part_key, part in config.parts() for item in answers(part_key, part.listens)]
    for position, (key, endpoint) in enumerate(listened):
        other = next((name for name, taken in listened[:position] if overlap(endpoint, taken)), None)
        if other is not None:
            yield f"{key}: {endpoint} is also {other}; each needs its own address"
    receivers = {listener_place(endpoint): key for key, endpoint in listened if key.startswith("receivers.")}
    for part_key, part in config.parts():
        for key, endpoint in answers(part_key, part.sends):
            for shown in _places(endpoint):
                listener = receivers.get(listener_place(shown))
                if listener is not None:
                    yield f"{key}: {shown} is {listener} of this same service: a loop"


def _places(endpoint: str) -> Iterator[str]:
    """Return where an address to send to leads, as listeners write it and without a password.

    Nothing for an address that a component of another package made up.
    """
    try:
        target = parse_target(endpoint)
    except ValueError:
        return
    if target.socket_path:
        yield f"unix://{Path(target.socket_path).absolute()}"
    elif target.scheme != "unix-abstract":
        for host, port in target.places:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def load_references(config: Config) -> dict[str, Reference]:
    """Return the reference profiles that the models name; :class:`ConfigError` lists every one that cannot be used."""
    references: dict[str, Reference] = {}
    problems: list[str] = []
    for name, model in config.monitor.models.items():
        if model.reference is None:
            continue
        path = f"connectors.ml_monitor.models.{name}"
        try:
            references[name] = load_reference(model.reference)
        except OSError as error:
            problems.append(f"{path}.reference: {model.reference} cannot be read: {error.strerror or error}")
            continue
        except ValueError as error:
            problems.append(f"{path}.reference: {error}")
            continue
        problems += _contradictions(path, references[name], model.task or "", model.positive_class, model.segments)
    if problems:
        raise ConfigError(config.origin, problems)
    return references


def _contradictions(
    path: str, reference: Reference, task: str, positive_class: str, segments: tuple[str, ...]
) -> Iterator[str]:
    """Yield where the configuration differs from what the reference was built with."""
    schema = reference.schema
    if task and schema.task and task != schema.task:
        yield f"{path}.task: {task}, but its reference was built for {schema.task}"
    if positive_class and schema.positive_class and positive_class != schema.positive_class:
        yield f"{path}.positive_class: {positive_class!r}, but its reference was built for {schema.positive_class!r}"
    unknown = [name for name in segments if name not in schema.groups.columns]
    if unknown:
        available = ", ".join(schema.groups.columns) or "none; build it with --segments"
        yield f"{path}.segments: {', '.join(unknown)} not in its reference, which has: {available}"
