"""The service: build every component, start them in an order that loses nothing, and drain them in reverse.

Start: state → exporters → statistics → originals → receivers → health. Stop: health → receivers (finish what is in
flight) → close the journal → statistics process what it holds and save → drain originals and exporters.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from itertools import starmap
from typing import Final

from prometheus_client import CollectorRegistry

from collector_processor.config import Config
from collector_processor.decode import BentoMonitors, DecodeLimits, decode
from collector_processor.exporters.base import Listening
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.logs import READY, dropped_messages
from collector_processor.own.memory import default_limit_bytes, keep_freed
from collector_processor.own.survive import in_thread, survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.receivers.admission import Admission
from collector_processor.receivers.component import OnSocket, Receiver
from collector_processor.service.build import Builder, monitored, storage_of
from collector_processor.service.checks import check_setup, exposures, load_references
from collector_processor.service.compiled_parts import parts_notice
from collector_processor.service.contradictions import contradictions
from collector_processor.service.observe import Observer
from collector_processor.service.relearn import RELEARN_PATH, relearn_handler
from collector_processor.service.reload import Reloading, check_changes, replace_statistics
from collector_processor.service.state import StateStore
from collector_processor.service.statistics_thread import CONSUMER, StatisticsThread
from collector_processor.service.workers.metrics import Summed
from collector_processor.service.workers.supervisor import Source, Supervisor
from collector_processor.serving.prometheus_text import metrics_handler
from collector_processor.status.answer import status_handler
from collector_processor.status.board import Board
from collector_processor.storage.instance_id import instance_id as kept_id

STOP_TIMEOUT_S = 20.0
"""How long a drain may take; Kubernetes kills a container after 30 s."""
RELOAD_TIMEOUT_S: Final = 60.0
"""How long a reload waits for the statistics to finish a pass."""
_GRACE_S: Final = 1.0
"""How much longer than it was given a part may take to stop."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_log = logging.getLogger(__name__)


class Service:
    """One processor service. Call :meth:`start`, then :meth:`stop`, each once.

    Construction and start raise if the configuration, the references, the state or an address cannot be used. After
    that, nothing that arrives over the network ends the service.
    """

    def __init__(
        self,
        config: Config,
        *,
        workers: int = 1,
        source: Source | None = None,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        check_setup(config)
        self.config = config
        self.telemetry = Telemetry()
        storage = storage_of(config, self.telemetry)
        instance_id = kept_id(None if storage is None else storage.directory)
        self.board = Board()
        builder = Builder(config, self.telemetry, instance_id, self.board)
        self._authenticators = builder.authenticators
        self._instance_id = instance_id
        limits = config.monitor.limits
        self.journal = MemoryJournal(self.telemetry, max_bytes=limits.journal)
        self.pipeline = Pipeline(config.monitor, load_references(config), self.telemetry, time.time_ns())
        self.exporters = builder.exporters()
        self.supervisor = self._supervisor(workers, source, instance_id, on_failure)
        self.forwarders = {} if self.supervisor else builder.forwarders(self.journal)
        self.admission = Admission(
            self.journal,
            partial(
                decode,
                limits=DecodeLimits(features=limits.features),
                own_instance_id=instance_id,
                monitors=BentoMonitors(),
            ),
            self.telemetry,
            instance_id=instance_id,
            memory_limit_bytes=default_limit_bytes() if limits.memory is None else limits.memory,
        )
        self.receivers: list[Receiver | Supervisor] = (
            [self.supervisor] if self.supervisor else [*builder.receivers(self.admission)]
        )
        self.store = None if storage is None else StateStore(storage.directory, self.telemetry, instance_id)
        self.alerting = builder.alerting(self.exporters)
        self.statistics = StatisticsThread(
            self.journal,
            self.pipeline,
            self.exporters,
            self.telemetry,
            alerting=self.alerting,
            observe=Observer(self.board, self.pipeline, self.alerting, self.telemetry).look,
            save=None if self.store is None else partial(self.store.save, alerting=self.alerting),
            save_interval_s=60.0 if storage is None else storage.interval_s,
        )
        self.servers = builder.servers(self._status, self._counts)
        registry = self.telemetry.registry
        if self.supervisor is not None:
            registry = CollectorRegistry()
            registry.register(Summed(self.telemetry.registry, self.supervisor.metrics))
        self.own_metrics = builder.admin(
            {"/metrics": metrics_handler(registry), "/status": status_handler(self.board, self._status)},
            {RELEARN_PATH: relearn_handler(self.statistics.ask)},
        )

    def _supervisor(
        self, workers: int, source: Source | None, instance_id: str, on_failure: Callable[[], object]
    ) -> Supervisor | None:
        if workers == 1:
            return None
        if source is None:
            raise ValueError("with several workers, pass the source of the configuration: each worker reads it")
        return Supervisor(
            self.config,
            source,
            workers,
            self.journal,
            self.telemetry,
            instance_id=instance_id,
            on_failure=on_failure,
        )

    def _status(self) -> str:
        if self.statistics.failed:
            return "the statistics thread has stopped"
        return "" if self.supervisor is None else self.supervisor.status

    def _counts(self) -> Mapping[str, int]:
        dropped = dropped_messages()
        return {**self.board.state.counts(), **({"log_messages_dropped": dropped} if dropped else {})}

    async def start(self) -> None:
        """Start every part; if one cannot start, stop those that did."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.store is not None:
            self.store.open()
            self.store.restore(self.pipeline, time.time_ns(), self.alerting)
        self.own_metrics.start()
        for exporter in (*self.exporters, *self.alerting.destinations):
            with _starting(f"exporters.{exporter.name}"):
                exporter.start()
        self.alerting.resume(time.time_ns())
        watched = monitored(self.config)
        if watched:
            self.journal.subscribe(CONSUMER, essential=True, signals=watched)
            self.statistics.start()
        for name, forwarder in self.forwarders.items():
            with _starting(f"exporters.{name}"):
                forwarder.start()
        for receiver in self.receivers:
            with _starting(f"receiver {receiver.name}"):
                await receiver.start()
        for name, server in self.servers.items():
            with _starting(f"extensions.{name}"):
                server.start()

    async def reload(self, config: Config, source: Source | None = None) -> None:
        """Use a changed configuration; if any of it cannot be used, raise and change nothing.

        ``source`` is what it was read from, for the workers. See :mod:`.reload` for what can change.
        """
        await asyncio.to_thread(check_setup, config)
        check_changes(self.config, config)
        references = await asyncio.to_thread(load_references, config)
        now_ns = time.time_ns()
        builder = Builder(config, self.telemetry, self._instance_id)
        pipeline = Pipeline(config.monitor, references, self.telemetry, now_ns)
        if monitored(config):
            engine = builder.engine()
            await asyncio.to_thread(
                self.statistics.ask,
                lambda running: replace_statistics(running, pipeline, self.alerting, engine, self.telemetry, now_ns),
                RELOAD_TIMEOUT_S,
            )
        for name, authenticator in builder.authenticators.items():
            self._authenticators[name].tokens.become(authenticator.tokens)
        if self.supervisor is not None and source is not None:
            self.supervisor.reload(config, source)
        logging.getLogger().setLevel(config.log_level.upper())
        self.config = config

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Drain and stop every part in time; return whether everything accepted was processed."""
        deadline = time.monotonic() + timeout_s

        def remaining_s() -> float:
            return max(0.1, deadline - time.monotonic())

        # Neither an error nor a delay in one part's shutdown may keep the others from theirs.
        for name, server in self.servers.items():
            await self._ended(f"extensions.{name}", in_thread(server.stop), remaining_s() / 4)
        half_s = remaining_s() / 2
        await asyncio.gather(
            *(
                self._ended(f"receiver {receiver.name}", receiver.stop(half_s), half_s + _GRACE_S)
                for receiver in self.receivers
            )
        )
        await asyncio.to_thread(self.admission.close)
        self.journal.close()
        drained = await asyncio.to_thread(self.statistics.stop, remaining_s())
        if not drained:
            _log.error("the statistics thread did not process all of the journal in time")
        destinations = [(item.name, item) for item in (*self.exporters, *self.alerting.destinations)]
        for name, destination in (*self.forwarders.items(), *destinations):
            half_s = remaining_s() / 2
            await self._ended(f"exporters.{name}", in_thread(destination.shutdown, half_s), half_s + _GRACE_S)
        left_s = remaining_s()
        await self._ended("own metrics", in_thread(self.own_metrics.stop, left_s), left_s + _GRACE_S)
        if self.store is not None:
            self.store.close()
        return drained

    async def _ended(self, part: str, stopping: Awaitable[None], timeout_s: float) -> None:
        """Wait for a part to stop; one that fails or takes too long is logged, counted and left behind."""
        with survived("shutdown", self.telemetry, part=part):
            try:
                await asyncio.wait_for(stopping, timeout_s)
            except asyncio.TimeoutError:
                self.telemetry.errors.labels("shutdown").inc()
                _log.error("%s did not stop within %.1f s; the service no longer waits for it", part, timeout_s)

    def addresses(self) -> list[tuple[str, int | str]]:
        """Return each listener's name and port, or the address of its Unix socket."""
        addresses: list[tuple[str, int | str]] = []
        for item in self.receivers:
            if isinstance(item, Supervisor):
                addresses += item.addresses()
            else:
                path = item.socket_path if isinstance(item, OnSocket) else ""
                addresses.append((item.name, f"unix://{path}" if path else item.port))
        addresses += [(item.name, item.port) for item in self.exporters if isinstance(item, Listening)]
        addresses += [(name, server.port) for name, server in self.servers.items()]
        return [*addresses, ("own metrics", self.own_metrics.port)]


def _shown(name: str, address: int | str) -> str:
    return f"{name} :{address}" if isinstance(address, int) else f"{name} {address}"


@contextlib.contextmanager
def _starting(part: str) -> Generator[None]:
    """Name the part that cannot start, when its error does not."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise OSError(f"{part} cannot start: {type(error).__name__}: {error}") from error


async def _started(service: Service, stop: asyncio.Event) -> bool:
    """Start the service; return False if it was stopped before it was ready."""
    starting, stopping = asyncio.ensure_future(service.start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        await starting
        return True
    _log.info("stopping before the service was ready")
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    return False


async def _run(
    config: Config, workers: int, source: Source | None, read: Callable[[], tuple[Config, Source]] | None
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    service = Service(config, workers=workers, source=source, on_failure=lambda: loop.call_soon_threadsafe(stop.set))
    notice = parts_notice()
    if notice is not None:
        _log.warning(notice)
    # Before the start: without a handler, the signal would end the process.
    loop.add_signal_handler(signal.SIGHUP, Reloading(service.reload, read, service.telemetry).request)
    if not await _started(service, stop):
        return 1
    logging.getLogger(READY).info("ready: %s", ", ".join(starmap(_shown, service.addresses())))
    for path in config.unused:
        _log.warning("%s is configured, but no pipeline uses it", path)
    for notice in (*contradictions(config, service.pipeline.references), *exposures(config)):
        _log.warning(notice)
    await stop.wait()
    _log.info("stopping")
    loop.add_signal_handler(signal.SIGHUP, _log.info, "not reloaded: the service is stopping")
    for number in _SIGNALS:
        loop.add_signal_handler(number, os._exit, 128 + number)
    drained = await service.stop()
    _log.info("stopped")
    return 0 if drained and not (service.supervisor and service.supervisor.problem) else 1


def _allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one, as Go's runtime does: it is kept low for old programs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_service(
    config: Config,
    *,
    workers: int = 1,
    source: Source | None = None,
    read: Callable[[], tuple[Config, Source]] | None = None,
) -> int:
    """Run until SIGTERM, SIGINT or SIGQUIT, drain, and return the exit code; a second signal ends the process at once.

    With several ``workers``, that many processes receive and this one counts; ``source`` is what ``config`` was read
    from. SIGHUP reloads the configuration that ``read`` returns.
    """
    memory = config.monitor.limits.memory
    _allow_open_files()
    keep_freed(default_limit_bytes() if memory is None else memory)
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_run(config, workers, source, read))
    return 130
