"""Chooses the form in which many rows travel."""

from __future__ import annotations

from collections.abc import Iterator

from otel_ml.encode import arrays, arrow
from otel_ml.encode.row import Attributes
from otel_ml.encode.table import Limits, Table


def payloads(table: Table, limits: Limits) -> Iterator[Attributes]:
    """The attributes of each span that the table needs: Arrow where pyarrow is installed, arrays otherwise.

    Each holds ``ml.prediction.rows``, the rows of its own span; rows keep the ids that their place in the whole call
    gives them.
    """
    pa = arrow.library()
    return arrays.encode(table, limits) if pa is None else arrow.encode(pa, table, limits)
