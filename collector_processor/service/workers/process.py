"""One receiving process: receives, decodes, keeps a journal, forwards originals, and hands columns over to be counted.

It is started by :mod:`.supervisor` and ends with it. A request is acknowledged once its journal has it; what it has
handed over is committed there, so that backpressure reaches the senders as in a service of one process.
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
from collector_processor.decode import DecodeLimits, decode
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
"""The essential consumer of the journal here."""
_TELL_S: Final = 1.0
"""How often the supervisor is told what was counted, unasked: so much is lost at most with a worker that is killed."""
_log = logging.getLogger(__name__)


class Worker:
    """Everything of one receiving process. ``begin`` is what the supervisor sent first."""

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
            partial(decode, limits=DecodeLimits(features=limits.features), own_instance_id=begin["instance_id"]),
            self.telemetry,
            memory_limit_bytes=memory,
            resident=partial(_resident, os.getppid(), workers),
        )
        builder = Builder(config, self.telemetry, begin["instance_id"])
        self.receivers = builder.receivers(self.admission, shared=True, held=begin["ports"])
        self.forwarders = builder.forwarders(self.journal)
        self._telling = threading.Lock()
        self._asked = threading.Event()
        self._handover = threading.Thread(target=self._hand_over, name="handover", daemon=True)

    async def start(self) -> None:
        """Starts to receive."""
        if self._signals:
            self.journal.subscribe(CONSUMER, essential=True, signals=self._signals)
            self._handover.start()
        for forwarder in self.forwarders:
            forwarder.start()
        for receiver in self.receivers:
            await receiver.start()
        threading.Thread(target=self._tell_now_and_then, name="metrics", daemon=True).start()

    async def stop(self, timeout_s: float) -> None:
        """Finishes what is in flight, hands everything over and delivers the originals, within the time."""
        deadline = time.monotonic() + timeout_s

        def left() -> float:
            return max(0.1, deadline - time.monotonic())

        for receiver in self.receivers:
            with survived("shutdown", self.telemetry):
                await receiver.stop(left() / 2)
        await asyncio.to_thread(self.admission.close)
        self.journal.close()
        if self._signals:
            await asyncio.to_thread(self._handover.join, left())
        for forwarder in self.forwarders:
            with survived("shutdown", self.telemetry):
                await asyncio.to_thread(forwarder.shutdown, left() / 2)

    def tell_metrics(self, kind: Literal["metrics", "counted"] = "metrics") -> None:
        """Sends what has been counted so far, behind everything that was handed over before; ``counted`` is unasked."""
        with self._telling:  # or an older figure could come behind a newer one
            self._link.tell(kind, snapshot(self.telemetry.registry))

    def ask(self) -> None:
        """Has the metrics told soon, without waiting for it: while the supervisor reads nothing, that takes long."""
        self._asked.set()

    def _tell_now_and_then(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asked = self._asked.wait(_TELL_S)
                self._asked.clear()
                self.tell_metrics("metrics" if asked else "counted")

    def _hand_over(self) -> None:
        # A read without a time-out comes back empty only when the journal is closed and read to its end.
        while entries := self.journal.read(CONSUMER):
            for entry in entries:
                # One request that cannot be packed must not keep the others here for ever.
                with survived("handover", self.telemetry):
                    self._link.send("request", *pack(entry.request))
                self.journal.commit(CONSUMER, entry.offset)


def _resident(parent: int, workers: int) -> int | None:
    """Memory of the whole service: of its parent, and of the workers, taken to be alike."""
    own, counting = resident_bytes(), resident_bytes(parent)
    return None if own is None else own * workers + (counting or 0)


async def _serve(link: Link, begin: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[float] = loop.create_future()
    worker = Worker(link, begin)

    def listen_to_parent() -> None:
        # A parent that is killed with something unread resets the link.
        with contextlib.suppress(OSError):
            while (message := link.receive()) is not None:
                if message.kind == "metrics":
                    worker.ask()
                elif message.kind == "stop":
                    loop.call_soon_threadsafe(stopping.set_result, float(message.described()))
        if not stopping.done():
            # Without the one who counts there is nobody to receive for.
            os._exit(1)

    await worker.start()
    threading.Thread(target=listen_to_parent, name="supervisor", daemon=True).start()
    link.tell("ready")
    await worker.stop(await stopping)
    worker.tell_metrics()


def main(descriptor: int) -> int:
    """Runs until the supervisor says stop, or is gone."""
    # Signals of the terminal go to all; the supervisor says what comes of them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    link = Link(socket.socket(fileno=descriptor))
    message = link.receive()
    if message is None or message.kind != "begin":
        return 1
    begin: dict[str, Any] = message.described()
    log_to_stderr(str(begin["log_level"]), f"worker {begin['number']}: ")
    keep_freed(default_limit_bytes())
    try:
        asyncio.run(_serve(link, begin))
    except (OSError, ValueError) as error:
        link.tell("failed", str(error))
        return 1
    # Threads that still wait for a destination must not hold it up.
    link.close()
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    logging.shutdown()
    os._exit(code)
