"""Every limit of a request: what is over it is dropped, counted, and takes no memory."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.decode import DecodeLimits, MalformedRequestError, decode, fallback
from collector_processor.decode.rules import prediction_rows
from collector_processor.decode.rules.prediction_rows import BLOCK_ROWS


@pytest.mark.parametrize(
    ("kind", "limit", "reason"),
    [
        ("ml.feature", "features", "features_over_limit"),
        ("ml.attribution", "features", "attributions_over_limit"),
        ("ml.segment", "segments", "segments_over_limit"),
        ("ml.prediction.scores", "classes", "classes_over_limit"),
    ],
)
def test_the_first_keys_of_a_model_are_kept_and_the_cells_of_others_counted(
    otlp: Any, kind: str, limit: str, reason: str
) -> None:
    def keys(decoded: Any) -> set[str]:
        parts = [decoded.predictions[0].features, decoded.predictions[0].attributions]
        return set().union(*parts, decoded.predictions[0].segments, decoded.predictions[0].scores)

    spans = [otlp.prediction({f"{kind}.a": 1, f"{kind}.b": 2, f"{kind}.{extra}": 3}) for extra in "cda"]
    decoded = otlp.decoded(*spans, limits=DecodeLimits(**{limit: 2}))
    assert keys(decoded) == {"a", "b"}
    assert decoded.dropped == {reason: 2}
    arrays = otlp.prediction({f"{kind}.{key}": [1.0, None, 2.0] for key in "abc"})
    decoded = otlp.decoded(arrays, limits=DecodeLimits(**{limit: 2}))
    assert (keys(decoded), decoded.dropped) == ({"a", "b"}, {reason: 2})


def test_features_are_counted_over_all_batches_of_a_model_but_not_over_models(otlp: Any) -> None:
    spans = [otlp.prediction({f"ml.feature.{row}": [1.0] * BLOCK_ROWS}) for row in range(3)]
    other = otlp.span({"ml.model.name": "other", "ml.feature.z": 1})
    decoded = otlp.decoded(*spans, other, limits=DecodeLimits(features=2))
    assert [list(batch.features) for batch in decoded.predictions] == [["0"], ["1"], [], ["z"]]
    assert decoded.dropped == {"features_over_limit": BLOCK_ROWS}


def test_a_feature_that_is_missing_everywhere_takes_no_place(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.feature.a": None, "ml.feature.b": 1}), limits=DecodeLimits(features=1))
    assert (list(decoded.predictions[0].features), decoded.dropped) == (["b"], {})


def test_a_key_that_is_too_long_is_no_column(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.feature." + "é" * 129: 1, "ml.feature." + "é" * 128: 2}))
    assert (list(decoded.predictions[0].features), decoded.dropped) == (["é" * 128], {"name_too_long": 1})


def test_long_texts_are_cut_in_every_form(otlp: Any) -> None:
    text = "a" * 300
    for value in (text, [text, text], otlp.arrow({"ml.feature.a": [text, "b", text]})):
        attributes = {"ml.batch": value} if isinstance(value, bytes) else {"ml.feature.a": value}
        decoded = otlp.decoded(otlp.prediction(attributes))
        assert decoded.predictions[0].features["a"].categories[0] == "a" * 256
        assert decoded.dropped == {"text_truncated": 1 if value is text else 2}


def test_spans_over_the_limit_of_rows_are_dropped_whole(otlp: Any) -> None:
    spans = [otlp.prediction({"ml.feature.a": value}) for value in (1, [1.0] * 8, [1.0] * 3, 1, 1)]
    decoded = otlp.decoded(*spans, limits=DecodeLimits(rows=10))
    assert sum(map(len, decoded.predictions)) == 10
    assert decoded.dropped == {"rows_over_limit": 4}


def test_batches_over_the_limit_of_cells_are_dropped_whole(otlp: Any) -> None:
    wide = otlp.prediction({"ml.feature.a": [1.0] * 10, **{f"ml.feature.b{i}": 1 for i in range(9)}})
    narrow = otlp.prediction({"ml.feature.a": [1.0] * 10})
    decoded = otlp.decoded(wide, wide, narrow, limits=DecodeLimits(cells=110))
    assert [len(batch) for batch in decoded.predictions] == [20]
    assert decoded.dropped == {"cells_over_limit": 10}
    arrow = otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": np.zeros(200)})})
    decoded = otlp.decoded(arrow, limits=DecodeLimits(cells=110))
    assert (decoded.predictions, decoded.dropped) == ((), {"cells_over_limit": 200})
    flat = [otlp.prediction({"ml.feature.a": 1, "ml.feature.b": 2}) for _ in range(60)]
    decoded = otlp.decoded(*flat, limits=DecodeLimits(cells=110))
    assert (decoded.predictions, decoded.dropped) == ((), {"cells_over_limit": 60})


def test_scalars_beside_a_batch_count_as_the_columns_that_they_become(otlp: Any) -> None:
    stream = otlp.arrow({"ml.feature.a": np.zeros(1000)})
    spread = otlp.prediction({"ml.batch": stream, **{f"ml.feature.s{i}": 1 for i in range(1000)}})
    decoded = otlp.decoded(spread, limits=DecodeLimits(cells=100_000))
    assert (decoded.predictions, decoded.dropped) == ((), {"cells_over_limit": 1000})


def test_models_over_the_limit_are_dropped(otlp: Any) -> None:
    spans = [otlp.span({"ml.model.name": f"m{i}", "ml.feature.a": 1}) for i in (0, 1, 2, 0, 3)]
    decoded = otlp.decoded(*spans, limits=DecodeLimits(models=2))
    assert [(batch.model.name, len(batch)) for batch in decoded.predictions] == [("m0", 2), ("m1", 1)]
    assert decoded.dropped == {"models_over_limit": 2}


def test_a_request_of_too_many_items_scopes_or_resources_is_malformed(otlp: Any) -> None:
    limits = DecodeLimits(items=12)
    ten = otlp.traces(*[otlp.span({})] * 10)
    assert decode("traces", ten, 0, limits).items == 10
    bodies = [("traces", otlp.traces(*[otlp.span({})] * 11)), ("logs", otlp.logs(*[LogRecord()] * 11))]
    bodies += [(signal, b"\x0a\x00" * 13) for signal in ("traces", "logs")]  # empty resources
    bodies += [(signal, b"\x0a\x18" + b"\x12\x00" * 12) for signal in ("traces", "logs")]  # empty scopes
    for signal, body in bodies:
        with pytest.raises(MalformedRequestError, match="more than 12 items, scopes and resources"):
            decode(signal, body, 0, limits)


@pytest.mark.parametrize("name", DecodeLimits.__slots__)
def test_a_limit_is_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"DecodeLimits: {name} is 0; a limit must be at least 1"):
        DecodeLimits(**{name: 0})


# --- batches in proportion to the wire -----------------------------------------------------------------------------


def test_rows_without_common_features_do_not_make_a_square(otlp: Any, read: Any) -> None:
    spans = [otlp.prediction({f"ml.feature.f{row}": row}) for row in range(1500)]
    decoded = otlp.decoded(*spans)
    sizes = [len(batch) * len(batch.features) for batch in decoded.predictions]
    attributes = 3 * 1500
    assert sum(sizes) <= 4 * attributes + 65_536 * len(sizes)
    assert max(sizes) < 1500 * 1500 / 4
    assert [row[f"feature f{i}"] for i, row in enumerate(read.rows(decoded))] == list(range(1500))


def test_rows_of_one_schema_are_one_batch(otlp: Any) -> None:
    spans = [otlp.prediction({f"ml.feature.f{i}": row for i in range(20)}) for row in range(3000)]
    assert [len(batch) for batch in otlp.decoded(*spans).predictions] == [3000]


def test_many_small_tables_become_one_batch(otlp: Any, read: Any) -> None:
    spans = [
        otlp.prediction({"ml.feature.a": [float(i), None], "ml.feature.t": [f"t{i % 3}", "x"]}) for i in range(500)
    ]
    [batch] = otlp.decoded(*spans).predictions
    assert read.cells(batch.features["a"], 1000)[::2] == [float(i) for i in range(500)]
    assert read.cells(batch.features["t"], 1000)[::2] == [f"t{i % 3}" for i in range(500)]


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 30]))
def test_rows_are_the_same_however_batches_are_cut(otlp: Any, read: Any, seed: int, width: int) -> None:
    rng = random.Random(seed)
    rows = [
        {f"ml.feature.f{rng.randrange(width * 20)}": rng.choice([1.0, "a", "b", 2.5]) for _ in range(width)}
        for _ in range(30)
    ]
    spans = [otlp.prediction(row) for row in rows]
    alone = [read.rows(otlp.decoded(span))[0] for span in spans]
    assert read.rows(otlp.decoded(*spans)) == alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_rows, "_FREE_CELLS", 0)
        patch.setattr(prediction_rows, "BLOCK_ROWS", 20)
        cut = fallback.decode_traces(otlp.traces(*spans), otlp.received)  # where others cut is their affair
    assert len(cut.predictions) > 1
    assert read.rows(cut) == alone
