"""The exporter that shows predictions to a person."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_ml import Config, Model
from otel_ml.console_exporter import CELLS, ROWS, WIDTH, ConsoleSpanExporter
from otel_ml.testing import Captured, capture


def shown(emit: Callable[[Captured], Any], out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    with capture() as captured:
        emit(captured)
    assert ConsoleSpanExporter(out).export(captured.spans) is SpanExportResult.SUCCESS
    return out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def predict(features: object, config: Config | None = None, **outputs: Any) -> Callable[[Captured], None]:
    def emit(_: Captured) -> None:
        with Model("churn", version="7", config=config).predict(features, id="order-1") as prediction:
            prediction.record(**outputs)

    return emit


def test_a_prediction_shows_model_id_outputs_and_features() -> None:
    text = shown(predict({"age": 37, "city": "Bern"}, class_="stays", score=0.81, attributions={"age": 0.25}))
    lines = text.splitlines()
    assert lines[0].startswith("predict churn@7  ")
    assert lines[1:] == [
        "  id         order-1",
        "  output     class=stays, score=0.81",
        "  features   age=37, city=Bern",
        "  because of age=0.25",
    ]


def test_a_batch_shows_its_first_rows_and_how_many_more_there_are() -> None:
    text = shown(predict({"age": list(range(20))}, value=[float(i) for i in range(20)]))
    assert "20 rows" in text
    assert text.count("output") == ROWS
    assert "value=4\n" in text
    assert "value=5\n" not in text
    assert f"… {20 - ROWS} more rows" in text


def test_labels_show_the_truth() -> None:
    def emit(_: Captured) -> None:
        Model("churn").label("order-1", class_="goes")
        Model("churn").labels([f"order-{i}" for i in range(9)], values=list(range(9)))

    text = shown(emit)
    assert "  order-1  class=goes" in text
    assert "9 labels" in text
    assert f"… {9 - ROWS} more labels" in text


def test_a_failed_prediction_shows_its_error() -> None:
    def emit(_: Captured) -> None:
        with pytest.raises(KeyError), Model("churn").predict({"age": 3}):
            raise KeyError("secret")

    text = shown(emit)
    assert "failed: KeyError" in text
    assert "secret" not in text


def test_any_other_span_is_one_line() -> None:
    def emit(captured: Captured) -> None:
        with captured.tracer_provider.get_tracer("web").start_as_current_span("GET /predict"):
            pass

    assert re.fullmatch(r"span GET /predict  web  \S+ .s\n", shown(emit))


def test_what_is_redacted_is_not_shown() -> None:
    config = Config(features_deny=["ssn"], features_hash=["name"], hash_salt="salt", features_bucket={"age": 10})
    text = shown(predict({"ssn": "123-45", "name": "Anna", "age": 37}, config, score=0.5))
    assert "123-45" not in text
    assert "Anna" not in text
    assert "age=30" in text
    assert "withheld   ssn" in text


def test_width_cells_and_values_are_bounded() -> None:
    features = {f"feature_{i}": "x" * 250 for i in range(2_000)}
    text = shown(predict(features, score=0.5))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert len(text.splitlines()) < 12
    assert f"{2_000 - CELLS:,} more" in shown(predict({f"f{i}": i for i in range(2_000)}, score=0.5))


def test_a_value_cannot_control_the_terminal() -> None:
    text = shown(predict({"name": "\x1b[2J\x1b]0;owned\x07\r\n\u202e"}), Terminal())
    plain = re.sub(r"\x1b\[\d+m|\x1b\[0m", "", text)
    assert "\\x1b[2J\\x1b]0;owned\\x07\\r\\n\\u202e" in plain
    assert all(line.isprintable() for line in plain.splitlines())


def test_colors_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    emit = predict({"age": 37}, score=0.5)
    assert "\x1b[" in shown(emit, Terminal())
    assert "\x1b[" not in shown(emit)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in shown(emit, Terminal())


def test_a_stream_that_is_closed_or_of_another_encoding_raises_nothing() -> None:
    with capture() as captured:
        predict({"city": "Zürich"}, score=0.5)(captured)
    closed = io.StringIO()
    closed.close()
    assert ConsoleSpanExporter(closed).export(captured.spans) is SpanExportResult.FAILURE
    octets = io.BytesIO()
    ascii_only = io.TextIOWrapper(octets, encoding="ascii")
    assert ConsoleSpanExporter(ascii_only).export(captured.spans) is SpanExportResult.SUCCESS
    assert rb"city=Z\xfcrich" in octets.getvalue()


def test_a_span_that_cannot_be_read_does_not_hide_the_others() -> None:
    def emit(captured: Captured) -> None:
        tracer = captured.tracer_provider.get_tracer("other")
        attributes = {"ml.model.name": "churn", "ml.prediction.rows": 3, "ml.batch": b"no stream"}
        tracer.start_span("predict churn", attributes=attributes).end()
        predict({"age": 37})(captured)

    text = shown(emit)
    assert "predict churn (cannot be shown: " in text
    assert "features   age=37" in text
