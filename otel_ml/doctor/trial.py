"""One prediction through the pipeline of this environment, to see what leaves; or to send it."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from otel_ml.doctor.findings import Findings
from otel_ml.doctor.route import exporter_entry, exporters

MODEL: Final = "otel-ml-doctor"
FEATURES: Final[Mapping[str, object]] = {"age": 37, "amount": 12.5, "city": "Bern"}


def try_prediction(findings: Findings, features: Mapping[str, object], *, send: bool) -> None:
    """Make one prediction with the settings of this environment, and show what leaves."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        from otel_ml.console_exporter import ConsoleSpanExporter
    except ImportError:
        return  # reported as a missing SDK
    from otel_ml.model import Model

    out = io.StringIO()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out)))
    exporting = _real_exporters(findings) if send else []
    recorders = [_Recorder() for _ in exporting]
    for exporter, recorder in zip(exporting, recorders, strict=True):
        provider.add_span_processor(SimpleSpanProcessor(recorder.around(exporter)))
    with Model(MODEL, version="0", tracer_provider=provider).predict(dict(features)) as prediction:
        prediction.record(class_="yes", score=0.81)
    provider.force_flush()
    provider.shutdown()
    findings.prediction = out.getvalue()
    if not findings.prediction:
        findings.problem("the test prediction did not leave", "see the settings above")
    for recorder in recorders:
        if not recorder.delivered:
            findings.problem("the test prediction was not delivered", recorder.why or "see the address above")
    if recorders and all(recorder.delivered for recorder in recorders):
        findings.fact("answer", "test prediction", f"delivered as model {MODEL}")


def _real_exporters(findings: Findings) -> list[Any]:
    found: list[Any] = []
    for name in exporters("TRACES"):
        entry = exporter_entry(name)
        if entry is None or name == "none":
            continue
        try:
            found.append(entry.load()())
        except Exception as error:  # noqa: BLE001 - an exporter that cannot be made is what we look for
            findings.problem(f"the exporter {name} cannot be made: {type(error).__name__}: {error}", "correct it")
    return found


class _Recorder(logging.Handler):
    """Notes whether an exporter delivered, and the last that it logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.delivered = False
        self.why = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        with suppress(Exception):
            self.why = record.getMessage()

    def around(self, exporter: Any) -> Any:
        """Return the exporter, observed."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        export, logger = exporter.export, logging.getLogger("opentelemetry")

        def observed(spans: Any) -> Any:
            spreads, logger.propagate = logger.propagate, False
            logger.addHandler(self)
            try:
                result = export(spans)
            finally:
                logger.removeHandler(self)
                logger.propagate = spreads
            self.delivered = result is SpanExportResult.SUCCESS
            return result

        exporter.export = observed
        return exporter
