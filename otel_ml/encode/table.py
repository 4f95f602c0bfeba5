"""Many rows of one call, as the Arrow and the plain form both take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from otel_ml.emit.redaction import Rule
from otel_ml.problems import report

Kind = Literal["feature", "text", "number", "id"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column: the attribute it leaves under, its cells, what they are, and the rule for them.

    A cell that is no column but one value stands for every row.
    """

    attribute: str
    cells: object
    kind: Kind = "feature"
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a payload; see :class:`~otel_ml.config.Settings`."""

    max_bytes: int
    max_chars: int
    max_flat: int
    room: int


@dataclass(frozen=True, slots=True)
class Table:
    """All columns of one call, ``rows`` cells each; ``scores`` maps a class to its column of probabilities.

    Default ids are ``base_id`` and ``:{i}``. With ``own_ids`` they are what the first span's rows have anyway, so that
    only further spans spell them out.
    """

    rows: int
    fields: list[Field] = field(default_factory=list[Field])
    scores: Mapping[str, object] = field(default_factory=dict[str, object])
    base_id: str = ""
    own_ids: bool = True


def misfit(attribute: str, cells: int, rows: int) -> None:
    """Report a column that has another length than the call has rows; it is dropped."""
    report(f"length {attribute}", "%s: %d values for %d rows; dropped", attribute, cells, rows)
