"""Limits of one request, and the count of what is rejected or dropped from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.own.drops import DecodeReason
from otel_ml.config import DEFAULT_MAX_FEATURES

_MAX_REASONS: Final = 3
"""Number of rejections whose reasons are in the message to the sender."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of one request; most drop what exceeds them and count it by reason.

    ========================  =========================================  ===============================================
    limit                     per                                        what exceeds it
    ========================  =========================================  ===============================================
    ``items``                 request: spans or records, their scopes    the whole request is refused as malformed
                              and resources
    ``models``                request (model, version, task and role)    spans of further ones: ``models_over_limit``
    ``rows``                  request, predictions and labels            the whole span or record, counted in rows:
                                                                         ``rows_over_limit``
    ``cells``                 request: rows × columns of every batch     the whole batch, counted in rows:
                                                                         ``cells_over_limit``
    ``features``              model and request; attributions likewise   cells of further features:
                                                                         ``features_over_limit``, ``attributions_…``
    ``segments``              model and request                          cells of further ones: ``segments_over_limit``
    ``classes``               model and request, in ``scores``           cells of further ones: ``classes_over_limit``
    ``categories``            column of a batch                          cells of further texts:
                                                                         ``categories_over_limit``
    ``text_length``           text, in UTF-8 bytes                       the rest of the text, at a whole character:
                                                                         ``text_truncated``; a column with a key that
                                                                         long: ``name_too_long``
    ``arrow_bytes``           request: all Arrow streams, unpacked       rejected
    ``arrow_messages``        Arrow stream                               rejected
    ========================  =========================================  ===============================================

    Prediction ids are never truncated, because their hash must be that of the whole text.

    >>> DecodeLimits(rows=0)
    Traceback (most recent call last):
    ValueError: DecodeLimits: rows is 0; a limit must be at least 1
    """

    items: int = 1_000_000
    models: int = 1_000
    rows: int = 1_000_000
    cells: int = 20_000_000
    features: int = DEFAULT_MAX_FEATURES
    segments: int = 100
    classes: int = 1_000
    categories: int = 100_000
    text_length: int = 256
    arrow_bytes: int = 256 * 1024 * 1024
    arrow_messages: int = 16_384

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"DecodeLimits: {name} is {getattr(self, name)}; a limit must be at least 1")


DEFAULT_LIMITS: Final = DecodeLimits()


class Tally:
    """Counts for one request how much of its limits is used, what was rejected, and what was dropped.

    >>> tally = Tally(DecodeLimits(rows=10))
    >>> tally.take_rows(8), tally.take_rows(3), tally.take_rows(2)
    (True, False, True)
    >>> dict(tally.dropped)
    {'rows_over_limit': 3}
    """

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self.dropped: dict[DecodeReason, int] = {}
        self.rejected = 0
        self._reasons: list[str] = []
        self._items_left = limits.items
        self._rows_left = limits.rows
        self._cells_left = limits.cells
        self.arrow_bytes_left = limits.arrow_bytes

    def drop(self, reason: DecodeReason, count: int = 1) -> None:
        """Count what was left out because of a limit or an unreadable value."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def reject(self, what: str, reason: str) -> None:
        """Count one span or record that could not be read."""
        self.rejected += 1
        if len(self._reasons) < _MAX_REASONS:
            # The sender chooses the names; they must not break lines in the logs that show this text.
            self._reasons.append("".join(c if c.isprintable() else "?" for c in f"{what}: {reason}"))

    def take_items(self, items: int) -> int:
        """Use up ``items`` spans, scopes or resources and return their number.

        Raises :class:`.batch.MalformedRequestError` if there are more than the limit: an empty one takes two bytes on
        the wire, so that a request within the limit of bytes could hold millions of them.
        """
        self._items_left -= items
        if self._items_left < 0:
            raise MalformedRequestError(f"the request has more than {self.limits.items} items, scopes and resources")
        return items

    def take_rows(self, rows: int) -> bool:
        """Use up ``rows`` more rows and return True if they fit; else count them as dropped."""
        if rows > self._rows_left:
            self.drop("rows_over_limit", rows)
            return False
        self._rows_left -= rows
        return True

    def take_cells(self, rows: int, columns: int) -> bool:
        """Use up ``rows`` × ``columns`` more cells and return True if they fit; else count the rows as dropped."""
        if rows * columns > self._cells_left:
            self.drop("cells_over_limit", rows)
            return False
        self._cells_left -= rows * columns
        return True

    def has_room(self, rows: int, columns: int) -> bool:
        """Return whether these rows and cells would fit; use up and count nothing."""
        return rows <= self._rows_left and rows * columns <= self._cells_left

    def fits(self, rows: int, columns: int) -> bool:
        """Return whether these rows and cells would fit, and use up nothing; if not, count the rows as dropped."""
        if rows > self._rows_left:
            self.drop("rows_over_limit", rows)
            return False
        if rows * columns > self._cells_left:
            self.drop("cells_over_limit", rows)
            return False
        return True

    def take_arrow_bytes(self, size: int) -> bool:
        """Use up ``size`` more bytes of unpacked Arrow streams and return True if they fit."""
        if size > self.arrow_bytes_left:
            return False
        self.arrow_bytes_left -= size
        return True

    def message(self) -> str:
        """Return the first reasons for rejections, and how many more there are; empty without any.

        >>> tally = Tally(DecodeLimits())
        >>> for i in range(5):
        ...     tally.reject(f"span {i}", "ml.model.name is missing")
        >>> tally.message()
        'span 0: ...; span 1: ...; span 2: ml.model.name is missing; and 2 more'
        """
        more = self.rejected - len(self._reasons)
        return "; ".join([*self._reasons, *([f"and {more} more"] if more else [])])
