"""Decoding alone, in one thread: the compiled decoder beside the one in Python, and streams of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks import traffic
from benchmarks.bench_decode import FORMS, START_NS, Form, request_of
from benchmarks.measure import Row, rate, ratio, seconds, together
from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Decoder, decode

ROUNDS = 9
_REACH = 20.0


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about decoding."""
    progress("decoding: spans")
    yield _spans()
    progress("decoding: every form")
    yield _forms()
    progress("decoding: batches")
    rates: list[str] = []
    for calls, size in ((5, 2000), (1, 10_000), (1, 100_000)):
        body = traffic.arrow_template(calls, size).body(1)
        _rows(body)
        rates.append(f"{rate(calls * size / seconds(lambda body=body: _rows(body), ROUNDS))} ({size:,})")
    yield Row("decoding batch rows alone (Arrow, 27 columns), by rows a span", ", ".join(rates))


def _rows(body: bytes) -> None:
    decode("traces", body, time.time_ns())


def _spans() -> Row:
    what, reach = "compiled decode of spans against upb + Python (25 features, 1,000 spans a request)", "≥ 20×"
    body = request_of(traffic.SPANS)
    decoders = {decoder.name: decoder for decoder in DECODERS}
    slow = decoders.pop("fallback")
    if not decoders:
        taken = seconds(lambda: _decode(slow, body), ROUNDS)
        return Row(what, "compiled decoder not built", reach, baseline=f"{rate(traffic.SPANS / taken)} spans")
    fast = next(iter(decoders.values()))
    # A batch of the fast one beside each of the slow one, so that both are long enough to be timed.
    below, above = together((lambda: _decode(fast, body, 20), lambda: _decode(slow, body)), ROUNDS)
    gain = 20 * ratio(above, below)
    return Row(
        what,
        f"{gain:.0f}× ({rate(traffic.SPANS * 20 / median(below))} spans)",
        reach,
        gain / _REACH,
        f"{rate(traffic.SPANS / median(above))} spans",
        "see the profile in the decoder's own benchmark",
    )


def _forms() -> Row:
    what = "compiled decode of each form against upb + Python, rows of 25 features or labels"
    decoders = {decoder.name: decoder for decoder in DECODERS}
    slow = decoders.pop("fallback")
    if not decoders:
        return Row(what, "compiled decoder not built")
    fast = next(iter(decoders.values()))
    told = [(form.what, *_compared(form, fast, slow)) for form in FORMS]
    return Row(
        what,
        ", ".join(f"{form} {gain:.1f}× ({rate(quick)})" for form, gain, quick, _ in told),
        baseline=", ".join(rate(plain) for *_, plain in told),
    )


def _compared(form: Form, fast: Decoder, slow: Decoder) -> tuple[float, float, float]:
    """How many times faster the one is than the other, and the rows a second of both."""
    body = form.body(traffic.SPANS)
    decoded = form.decode(fast, body)
    count = sum(map(len, decoded.predictions)) + sum(map(len, decoded.labels))

    def often() -> None:
        for _ in range(10):
            form.decode(fast, body)

    below, above = together((often, lambda: form.decode(slow, body)), 5)
    return 10 * ratio(above, below), count * 10 / median(below), count / median(above)


def _decode(decoder: Decoder, body: bytes, times: int = 1) -> None:
    for _ in range(times):
        decoder.decode_traces(body, START_NS, DEFAULT_LIMITS)
