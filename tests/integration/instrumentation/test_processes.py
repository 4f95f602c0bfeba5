"""What child processes observe arrives, however they are started and however they end."""

from __future__ import annotations

import platform
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_ml.encode.stream_reader import columns
from support.ports import free_port
from support.sink import Sink, listening, run

APP = """
import multiprocessing as mp
import sys
from concurrent.futures import ProcessPoolExecutor

from joblib import Parallel, delayed

import otel_ml

model = otel_ml.Model("m")


def task(number):
    with model.predict({"number": number}) as prediction:
        prediction.record(score=0.5)
    return number


def tasks(numbers):
    return [task(number) for number in numbers]


def main(kind, method):
    numbers = range(40)
    if kind == "pool":  # it ends its workers by SIGTERM
        with mp.get_context(method).Pool(2) as pool:
            pool.map(task, numbers)
    elif kind == "executor":
        with ProcessPoolExecutor(2, mp_context=mp.get_context(method)) as executor:
            list(executor.map(task, numbers))
    elif kind == "process":
        child = mp.get_context(method).Process(target=tasks, args=(numbers,))
        child.start()
        child.join()
    elif kind == "parent first":
        tasks(numbers[:20])
        otel_ml.flush()
        with mp.get_context(method).Pool(2) as pool:
            pool.map(task, numbers[20:])
    else:
        Parallel(2, backend=method)(delayed(task)(number) for number in numbers)


if __name__ == "__main__":
    main(*sys.argv[1:])
"""


CHILDREN = [
    ("pool", "fork"),
    ("pool", "spawn"),
    ("pool", "forkserver"),
    ("executor", "fork"),
    ("executor", "spawn"),
    ("executor", "forkserver"),
    ("process", "fork"),
    ("process", "spawn"),
    ("parent first", "fork"),
    ("joblib", "loky"),
    ("joblib", "multiprocessing"),
]


def numbers_of(span: Span) -> list[int]:
    """The feature ``number`` of every row of a span."""
    values = {attribute.key: attribute.value for attribute in span.attributes}
    if "ml.batch" not in values:
        return [values["ml.feature.number"].int_value]
    return dict(columns(values["ml.batch"].bytes_value))["ml.feature.number"]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.mark.parametrize(
    ("kind", "method", "emit"),
    [
        *((*case, "columnar") for case in CHILDREN if case[1] in ("fork", "loky")),
        *((*case, "spans") for case in CHILDREN),
    ],
)
def test_every_row_of_every_child_arrives_once(sink: Sink, tmp_path: Path, kind: str, method: str, emit: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP)
    done = run(sink, app, kind, method, OTEL_ML_EMIT=emit)
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(number for span in sink.spans() for number in numbers_of(span)) == Counter(range(40))


FORKS = """
import os
import sys

import otel_ml

model = otel_ml.Model("m")


def predict(number):
    with model.predict({"number": number}) as prediction:
        prediction.record(score=0.5)


for number in range(10):
    predict(number)
child = os.fork()
if child == 0:
    for number in range(10, 20):
        predict(number)
    if sys.argv[1] == "exit":
        sys.exit()
    otel_ml.flush()
    os._exit(0)
for number in range(20, 30):
    predict(number)
os.waitpid(child, 0)
with model.predict({"number": 30}) as prediction:
    prediction.record(score=0.5)
    child = os.fork()  # in the middle of a call: the parent's
if child == 0:
    sys.exit()
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("end", ["exit", "flush"])
def test_rows_that_gather_around_a_fork_arrive_once(sink: Sink, end: str) -> None:
    done = run(sink, "-c", FORKS, end, OTEL_ML_EMIT="columnar")
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(number for span in sink.spans() for number in numbers_of(span)) == Counter(range(31))


FORK_IN_A_FLUSH = """
import os
import threading

import otel_ml
from otel_ml.delivery import gather

model = otel_ml.Model("m")
stop = threading.Event()


def flushes():
    while not stop.is_set():
        gather.drain()


flusher = threading.Thread(target=flushes)
flusher.start()
children = []
for number in range(200):
    with model.predict({"number": number}) as prediction:
        prediction.record(score=0.5)
    if number % 20 == 0:
        child = os.fork()
        if child == 0:
            with model.predict({"number": 1000 + number}) as prediction:
                prediction.record(score=0.5)
            otel_ml.flush()
            os._exit(0)
        children.append(child)
stop.set()
flusher.join()
for child in children:
    os.waitpid(child, 0)
"""


def test_a_fork_in_the_middle_of_a_flush_loses_and_repeats_nothing(sink: Sink) -> None:
    done = run(sink, "-W", "ignore", "-c", FORK_IN_A_FLUSH, OTEL_ML_EMIT="columnar")
    assert (done.returncode, done.stderr) == (0, "")
    expected = Counter([*range(200), *range(1000, 1200, 20)])
    assert Counter(number for span in sink.spans() for number in numbers_of(span)) == expected


def test_a_short_program_sends_what_gathered_before_its_exit(sink: Sink) -> None:
    program = "import otel_ml\nwith otel_ml.Model('m').predict({'number': 7}) as p: p.record(score=0.5)"
    done = run(sink, "-c", program, OTEL_ML_EMIT="columnar")
    assert (done.returncode, done.stderr) == (0, "")
    assert [number for span in sink.spans() for number in numbers_of(span)] == [7]
    assert {"ml.prediction.duration", "ml.prediction.score"} <= sink.metrics()


BATCHES = """
import numpy as np

import otel_ml

model = otel_ml.Model("m")
for _ in range(46):
    with model.predict(np.random.default_rng(0).normal(size=(10_000, 20))) as prediction:
        prediction.record(score=np.full(10_000, 0.5))
"""


def test_a_batch_job_sends_within_limits_with_no_variable_set(sink: Sink) -> None:
    done = run(sink, "-c", BATCHES, OTEL_METRICS_EXPORTER="none")
    assert (done.returncode, done.stderr) == (0, "")
    rows = sum(
        attribute.value.int_value
        for span in sink.spans()
        for attribute in span.attributes
        if attribute.key == "ml.prediction.rows"
    )
    assert rows == 460_000
    assert max(map(len, sink.bodies["/v1/traces"])) < 4 * 1024 * 1024


@pytest.mark.parametrize("exporter", ["otlp", "otel_ml_otlp"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_process_ends_soon_although_the_receiver_is_down(sink: Sink, exporter: str, protocol: str) -> None:
    started = time.monotonic()
    done = run(
        sink,
        "-c",
        BATCHES,
        OTEL_TRACES_EXPORTER=exporter,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
    )
    assert done.returncode == 0
    lost = re.findall(r"the receiver does not answer; (\d+) of \d+ spans are lost", done.stderr)
    assert sum(map(int, lost)) == 138
    assert time.monotonic() - started < 25, "the SDK waits 30 seconds for each signal"


SERVER = """
import os
import signal
import threading
import urllib.request

import uvicorn

import otel_ml

model = otel_ml.Model("m")


async def app(scope, receive, send):
    with model.predict({"a": 1}) as prediction:
        prediction.record(score=0.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        threading.Thread(target=self.use).start()

    def use(self):
        port = self.servers[0].sockets[0].getsockname()[1]
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
        os.kill(os.getpid(), signal.SIGTERM)


Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error")).run()
"""


def test_uvicorn_loses_nothing_when_a_signal_stops_it(sink: Sink) -> None:
    done = run(sink, "-c", SERVER)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert [span.name for span in sink.spans()] == ["predict m"]


STUCK = """
import ctypes, mmap, multiprocessing as mp, time
import otel_ml

otel_ml.Model("m")
shared = mmap.mmap(-1, 64)  # the mutex, which the parent sees too


def stuck():
    libc, mutex = ctypes.CDLL(None), (ctypes.c_char * 64).from_buffer(shared)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # for good, and no signal ends it


if __name__ == "__main__":
    child = mp.get_context("fork").Process(target=stuck)
    child.start()
    while ctypes.c_int.from_buffer(shared).value != 2:  # glibc's mark that a thread waits for it
        time.sleep(0.01)
    child.terminate()
    child.join()
    print("ended", child.exitcode)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="reads a mutex of glibc")
def test_a_child_that_is_stuck_in_c_code_ends_when_it_is_terminated(sink: Sink, tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    answer = run(sink, str(script))
    assert f"ended -{signal.SIGKILL.value}" in answer.stdout
