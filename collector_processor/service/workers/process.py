"""One receiving process: receive, decode, keep a journal, forward originals, and hand over columns to be counted.

:mod:`.supervisor` starts the process, which ends with it. A request is acknowledged once the process's journal has it,
and committed there once it is handed over, so that backpressure reaches the senders as in a service of one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from collector_processor.config.load import parse_config
from collector_processor.decode import BentoMonitors, DecodeLimits, decode
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.logs import log_to_stderr
from collector_processor.own.memory import default_limit_bytes, keep_freed, resident_bytes
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import Admission
from collector_processor.service.build import Builder, monitored
from collector_processor.service.workers.handover import pack
from collector_processor.service.workers.link import Link
from collector_processor.service.workers.metrics import snapshot

CONSUMER: Final = "handover"
"""The essential consumer of the journal in this process."""
_REPORT_S: Final = 1.0
"""How often counts are sent without a request: a worker that is killed loses the counts of at most this long."""
_log = logging.getLogger(__name__)


class Worker:
    """All parts of one receiving process. ``begin`` is the supervisor's first message."""

    def __init__(self, link: Link, begin: dict[str, Any]) -> None:
        config = parse_config(begin["text"], base=Path(begin["base"]))
        limits, workers = config.monitor.limits, int(begin["workers"])
        memory = default_limit_bytes() if limits.memory is None else limits.memory
        self._link = link
        self._signals = monitored(config)
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry, max_bytes=max(1, limits.journal // workers))
        self.admission = Admission(
            self.journal,
            partial(
                decode,
                limits=DecodeLimits(features=limits.features),
                own_instance_id=begin["instance_id"],
                monitors=BentoMonitors(),
            ),
            self.telemetry,
            instance_id=begin["instance_id"],
            memory_limit_bytes=memory,
            resident=partial(_resident, os.getppid(), workers),
        )
        builder = Builder(config, self.telemetry, begin["instance_id"])
        self._authenticators = builder.authenticators
        self._instance_id: str = begin["instance_id"]
        self.receivers = builder.receivers(
            self.admission, shared=True, held=begin["ports"], first=int(begin["number"]) == 1
        )
        self.forwarders = builder.forwarders(self.journal)
        self._sending = threading.Lock()
        self._requested = threading.Event()
        self._handover = threading.Thread(target=self._hand_over, name="handover", daemon=True)

    async def start(self) -> None:
        """Start to receive and to report metrics."""
        if self._signals:
            self.journal.subscribe(CONSUMER, essential=True, signals=self._signals)
            self._handover.start()
        for forwarder in self.forwarders.values():
            forwarder.start()
        for receiver in self.receivers:
            await receiver.start()
        threading.Thread(target=self._report_metrics, name="metrics", daemon=True).start()

    async def stop(self, timeout_s: float) -> None:
        """Finish what is in flight, hand everything over and deliver the originals, within the time."""
        deadline = time.monotonic() + timeout_s

        def remaining_s() -> float:
            return max(0.1, deadline - time.monotonic())

        for receiver in self.receivers:
            with survived("shutdown", self.telemetry):
                await receiver.stop(remaining_s() / 2)
        await asyncio.to_thread(self.admission.close)
        self.journal.close()
        if self._signals:
            await asyncio.to_thread(self._handover.join, remaining_s())
        for forwarder in self.forwarders.values():
            with survived("shutdown", self.telemetry):
                await asyncio.to_thread(forwarder.shutdown, remaining_s() / 2)

    def reload(self, source: dict[str, str]) -> None:
        """Use the tokens and the log level of a changed configuration, which the supervisor has checked."""
        config = parse_config(source["text"], base=Path(source["base"]))
        changed = Builder(config, self.telemetry, self._instance_id).authenticators
        for name, authenticator in changed.items():
            self._authenticators[name].tokens.become(authenticator.tokens)
        logging.getLogger().setLevel(config.log_level.upper())

    def send_metrics(self, kind: Literal["metrics", "counted"] = "metrics") -> None:
        """Send the counts so far, after everything handed over before; ``counted`` means without a request."""
        with self._sending:  # otherwise an older figure could arrive after a newer one
            self._link.send_value(kind, snapshot(self.telemetry.registry))

    def request_metrics(self) -> None:
        """Have the metrics sent soon, without waiting: sending takes long while the supervisor reads nothing."""
        self._requested.set()

    def _report_metrics(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                requested = self._requested.wait(_REPORT_S)
                self._requested.clear()
                self.send_metrics("metrics" if requested else "counted")

    def _hand_over(self) -> None:
        # A read without a timeout returns nothing only when the journal is closed and read to its end.
        while entries := self.journal.read(CONSUMER):
            for entry in entries:
                # One request that cannot be packed must not keep the others here forever.
                with survived("handover", self.telemetry):
                    self._link.send("request", *pack(entry.request))
                self.journal.commit(CONSUMER, entry.offset)


def _resident(parent: int, workers: int) -> int | None:
    """Return the memory of the whole service: its parent plus its workers, assumed to be alike."""
    worker_bytes, parent_bytes = resident_bytes(), resident_bytes(parent)
    return None if worker_bytes is None else worker_bytes * workers + (parent_bytes or 0)


async def _serve(link: Link, begin: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[float] = loop.create_future()
    worker = Worker(link, begin)

    def listen_to_parent() -> None:
        # A parent that is killed before it has read everything resets the link.
        with contextlib.suppress(OSError):
            while (message := link.receive()) is not None:
                if message.kind == "metrics":
                    worker.request_metrics()
                elif message.kind == "reload":
                    with survived("reload", worker.telemetry):
                        worker.reload(message.value())
                elif message.kind == "stop":
                    loop.call_soon_threadsafe(stopping.set_result, float(message.value()))
        if not stopping.done():
            # Without the process that counts, there is no reason to receive.
            os._exit(1)

    await worker.start()
    threading.Thread(target=listen_to_parent, name="supervisor", daemon=True).start()
    link.send_value("ready")
    await worker.stop(await stopping)
    worker.send_metrics()


def main(descriptor: int) -> int:
    """Run until the supervisor sends a stop or is gone."""
    # Signals from the terminal reach all processes; only the supervisor acts on them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    link = Link(socket.socket(fileno=descriptor))
    message = link.receive()
    if message is None or message.kind != "begin":
        return 1
    begin: dict[str, Any] = message.value()
    log_to_stderr(str(begin["log_level"]), f"worker {begin['number']}: ")
    keep_freed(default_limit_bytes())
    try:
        asyncio.run(_serve(link, begin))
    except (OSError, ValueError) as error:
        link.send_value("failed", str(error))
        return 1
    # Threads that still wait for a destination must not delay the end.
    link.close()
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    logging.shutdown()
    os._exit(code)
