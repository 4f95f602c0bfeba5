"""The rows of one call as columns, which the Arrow form and the array form both encode."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from otel_ml.encode.rules import RedactionRule

ColumnKind: TypeAlias = Literal["feature", "text", "number", "id"]


@dataclass(frozen=True, slots=True)
class BatchColumn:
    """One column: the attribute it leaves under, its cells, their kind, and the redaction rule for them.

    ``cells`` that are not a column but a single value hold for every row.
    """

    attribute: str
    cells: object
    kind: ColumnKind = "feature"
    rule: RedactionRule | None = None


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """Limits of one span's payload; see :class:`~otel_ml.config.Settings`."""

    max_bytes: int
    max_chars: int


@dataclass(frozen=True, slots=True)
class Batch:
    """All columns of one call, ``rows`` cells each; ``scores`` maps a class to its column of probabilities.

    Default ids are ``base_id`` and ``:{i}``. With ``own_ids`` they are what the first span's rows have anyway, so that
    only further spans spell them out.
    """

    rows: int
    columns: list[BatchColumn] = field(default_factory=list[BatchColumn])
    scores: dict[str, object] = field(default_factory=dict[str, object])
    base_id: str = ""
    own_ids: bool = True
