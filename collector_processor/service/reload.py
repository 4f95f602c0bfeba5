"""Put a changed configuration to use while the service runs, without losing a row.

What can change: models with their references and thresholds, monitors, windows, labels, the alert rules and silences,
tokens, and the log level. Anything else needs a restart, and then nothing of the file is used: a service that runs half
of a file would be one that nobody configured. The statistics are restored from their own state, as after a restart, so
what a change of settings keeps and what it drops is the same for both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, cast

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.kept import restore_engine
from collector_processor.columns import codec
from collector_processor.config import Config, ConfigError
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pace import stale_ns
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.service.state import StateReader, state_of
from collector_processor.service.workers.supervisor import Source
from collector_processor.settings.base import Settings
from collector_processor.storage.snapshot import Snapshot

_TOKENS: Final = ("token", "tokens", "filename")
"""Keys of an authenticator that may change: what is valid, and not how it is sent."""
_log = logging.getLogger(__name__)


def check_changes(running: Config, wanted: Config) -> None:
    """Raise :class:`.ConfigError` with every change that needs a restart."""
    problems = [f"{key}: changed; it only takes effect when the service restarts" for key in _fixed(running, wanted)]
    if problems:
        raise ConfigError(wanted.origin, problems)


def _fixed(running: Config, wanted: Config) -> Iterator[str]:
    """Yield the keys that differ and that a running service cannot change."""
    for section in ("receivers", "exporters", "extensions"):
        yield from _unless_token(differences(section, getattr(running, section), getattr(wanted, section)))
    yield from differences("service.pipelines", running.pipelines, wanted.pipelines)
    yield from differences("service.telemetry.metrics", running.admin, wanted.admin)
    yield from differences("alerts.notify", running.alerts.notify, wanted.alerts.notify)
    monitor = "connectors.ml_monitor"
    yield from differences(f"{monitor}.limits", running.monitor.limits, wanted.monitor.limits)
    if stale_ns(running.monitor) != stale_ns(wanted.monitor):
        yield f"{monitor}.window"  # exporters keep figures for as long as the windows said at their start


def _unless_token(keys: Iterator[str]) -> Iterator[str]:
    for key in keys:
        section, _, rest = key.partition(".")
        name, _, inner = rest.rpartition(".")
        tokens = section == "extensions" and inner.split(".")[0] in _TOKENS and name
        if not (tokens and EXTENSIONS.component(name).authenticator is not None):
            yield key


def differences(key: str, first: object, second: object) -> Iterator[str]:
    """Yield the innermost keys in which two values differ.

    >>> class Inner(Settings):
    ...     size: int = 1
    ...     name: str = ""
    >>> list(differences("a", {"x": Inner(size=2), "y": 1}, {"x": Inner(size=3), "z": 1}))
    ['a.x.size', 'a.y', 'a.z']
    """
    if first == second:
        return
    if isinstance(first, Settings) and type(first) is type(second):
        for name, field in type(first).model_fields.items():
            yield from differences(f"{key}.{field.alias or name}", getattr(first, name), getattr(second, name))
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        before, after = cast("Mapping[str, object]", first), cast("Mapping[str, object]", second)
        for name in {**before, **after}:
            yield from differences(f"{key}.{name}", before.get(name), after.get(name))
    else:
        yield key


def replace_statistics(
    pipeline: Pipeline, changed: Pipeline, alerting: Alerting, engine: Engine, telemetry: Telemetry, now_ns: int
) -> None:
    """Give a pipeline and its alerts other settings; ``changed`` and ``engine`` have them, and nothing else.

    Only the thread that owns the pipeline may call it. If it raises, the pipeline and the alerts are as they were.
    """
    head, pieces = codec.pack(state_of(pipeline, alerting))
    state = codec.unpack(head, bytearray(b"".join(pieces)))
    StateReader(telemetry).restore(Snapshot(state), changed, now_ns)
    restore_engine(engine, state["alerts"], now_ns)
    pipeline.become(changed)
    alerting.engine = engine
    telemetry.alerts_firing.clear()  # of rules that are gone; the next sweep sets those of the new ones


class Reloading:
    """Reloads a service when it is asked to, one time after the other; ``read`` returns the configuration of now."""

    def __init__(
        self,
        apply: Callable[[Config, Source], Awaitable[None]],
        read: Callable[[], tuple[Config, Source]] | None,
        telemetry: Telemetry,
    ) -> None:
        self._apply = apply
        self._read = read
        self._telemetry = telemetry
        self._running: asyncio.Task[None] | None = None
        self._again = False

    def request(self) -> None:
        """Reload now, or once more after the reload that is running."""
        if self._running is not None and not self._running.done():
            self._again = True
            return
        self._running = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        while True:
            self._again = False
            await self._once()
            if not self._again:
                return

    async def _once(self) -> None:
        if self._read is None:
            _log.warning("nothing to reload: the service runs without a configuration file")
            return
        try:
            config, source = await asyncio.to_thread(self._read)
            await self._apply(config, source)
        except (OSError, ValueError) as error:
            _log.error("not reloaded, and nothing has changed: %s", _in_one_line(error))
        except Exception:  # noqa: BLE001 -- whatever it is, the service continues as it was
            _log.exception("not reloaded, and nothing has changed")
        else:
            self._telemetry.reloads.labels("applied").inc()
            _log.info("reloaded %s", config.origin.name)
            return
        self._telemetry.reloads.labels("refused").inc()


def _in_one_line(error: Exception) -> str:
    r"""Return an error with a list of problems as one line.

    >>> _in_one_line(ValueError("a.yaml cannot be used:\n  - line 1: one\n  - line 2: two"))
    'a.yaml cannot be used: line 1: one; line 2: two'
    """
    return str(error).replace("\n  - ", " ", 1).replace("\n  - ", "; ")
