"""A label finds its prediction by an id of any numeric type, and no two ids become one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Decoder, hash_ids
from otel_ml import Model
from otel_ml.testing import capture

NEAR = st.sampled_from([2**53, 2**62, 2**63, 10**15]).flatmap(lambda at: st.integers(at - 3, at + 3))
BELOW_2_63 = st.integers(0, 2**63 - 1) | NEAR.filter(lambda number: number < 2**63)
BELOW_2_64 = st.integers(0, 2**64 - 1) | NEAR
ANY = st.integers(-(10**30), 10**30) | NEAR
KINDS: dict[str, tuple[st.SearchStrategy[int], Callable[[list[int]], Any]]] = {
    "int": (ANY, list),
    "Decimal": (ANY, lambda v: [Decimal(each) for each in v]),
    "Fraction": (ANY, lambda v: [Fraction(each) for each in v]),
    "Decimal and None": (ANY, lambda v: pd.Series([Decimal(each) for each in v], dtype=object)),
    "numpy int64": (BELOW_2_63, lambda v: np.array(v, np.int64)),
    "numpy uint64": (BELOW_2_64, lambda v: np.array(v, np.uint64)),
    "numpy object": (ANY, lambda v: np.array(v, object)),
    "pandas Int64": (BELOW_2_63, lambda v: pd.Series(v, dtype="Int64")),
    "pandas UInt64": (BELOW_2_64, lambda v: pd.Series(np.array(v, np.uint64), dtype="UInt64")),
    "polars UInt64": (BELOW_2_64, lambda v: pl.Series(v, dtype=pl.UInt64)),
    "polars Decimal": (ANY, lambda v: pl.Series([Decimal(each) for each in v], dtype=pl.Decimal(38, 0))),
    "arrow decimal128": (ANY, lambda v: pa.array([Decimal(each) for each in v], pa.decimal128(38, 2))),
    "arrow decimal256": (ANY, lambda v: pa.array([Decimal(each) for each in v], pa.decimal256(60, 3))),
}


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@pytest.mark.parametrize("form", ["batch", "rows"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_an_id_is_the_text_of_its_whole_number(decoder: Decoder, form: str, kind: str, data: st.DataObject) -> None:
    numbers, make = KINDS[kind]
    wanted = data.draw(st.lists(numbers, min_size=2, max_size=6, unique=True))
    ids = make(wanted)
    with capture() as captured:
        model = Model("m")
        if form == "rows":
            for each in ids:
                model.label(each.as_py() if isinstance(each, pa.Scalar) else each, value=1.0)
        else:
            model.labels(ids, values=[1.0] * len(wanted))
    found = decoder.decode_traces(encode_spans(captured.spans).SerializeToString(), 0, DEFAULT_LIMITS)
    hashes = [tuple(pair) for batch in found.labels for pair in batch.ids.tolist()]
    assert hashes == [tuple(pair) for pair in hash_ids([str(each) for each in wanted]).tolist()]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
@given(fraction=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6))
@settings(max_examples=30, deadline=None)
def test_a_decimal_with_a_fraction_is_the_id_of_the_equal_float(decoder: Decoder, fraction: Decimal) -> None:
    with capture() as captured:
        Model("m").label(fraction, value=1.0)
        Model("m").label(float(fraction), value=1.0)
        Model("m").labels([fraction, fraction + 7], values=[1.0, 2.0])
    found = decoder.decode_traces(encode_spans(captured.spans).SerializeToString(), 0, DEFAULT_LIMITS)
    hashes = [tuple(pair) for batch in found.labels for pair in batch.ids.tolist()]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
