"""``otel_ml.setup()`` in a plain program, as in a notebook."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import otel_ml
from support.sink import Sink, listening, run

PROGRAM = """
import otel_ml

otel_ml.setup({arguments})
otel_ml.setup("http://127.0.0.1:9")  # as when a cell of a notebook runs again
model = otel_ml.Model("m")
with model.predict({{"a": 1}}) as prediction:
    prediction.record(score=0.5)
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.mark.parametrize("given", ["argument", "variable"])
def test_a_plain_program_sends_its_predictions(sink: Sink, given: str) -> None:
    arguments = f"{sink.endpoint!r}, protocol='http/protobuf', service_name='shop'" if given == "argument" else ""
    done = run(sink, "-c", PROGRAM.format(arguments=arguments), instrumented=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [span.name for span in sink.spans()] == ["predict m"]
    assert "ml.prediction.score" in sink.metrics()
    assert sink.services() == {"shop" if given == "argument" else "app"}


@pytest.mark.parametrize("endpoint", ["ftp://localhost", "http://", ""])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="is not an address such as http://localhost:4317"):
        otel_ml.setup(endpoint)
