"""The rows of one request decoded so far, whichever decoder reads its bytes."""

from __future__ import annotations

from collector_processor.columns.batch import Decoded
from collector_processor.decode.limits import DecodeLimits, Tally
from collector_processor.decode.rules.identity import Identity
from collector_processor.decode.rules.label_rows import LabelRows
from collector_processor.decode.rules.prediction_rows import PredictionRows


class RequestRows:
    """Predictions by model, version, task and role, labels by model, and the tally of what was left out.

    ``received_ns`` (Unix) is the event time of spans and records without one.
    """

    def __init__(self, received_ns: int, limits: DecodeLimits) -> None:
        self.received_ns = received_ns
        self.limits = limits
        self.tally = Tally(limits)
        self._predictions: dict[Identity, PredictionRows] = {}
        self._labels: dict[str, LabelRows] = {}

    def predictions_of(self, identity: Identity) -> PredictionRows | None:
        """Return the rows for a model's predictions; count and return None if there are too many models already."""
        rows = self._predictions.get(identity)
        if rows is None and self._has_room(len(self._predictions)):
            rows = self._predictions[identity] = PredictionRows(identity, self.tally)
        return rows

    def labels_of(self, model_name: str) -> LabelRows | None:
        """Return the rows for a model's labels; count and return None if there are too many models already."""
        rows = self._labels.get(model_name)
        if rows is None and self._has_room(len(self._labels)):
            rows = self._labels[model_name] = LabelRows(model_name, self.tally)
        return rows

    def decoded(self, items: int) -> Decoded:
        """Return everything as batches; models in order of first appearance, rows in the order of the request."""
        predictions = tuple(batch for rows in self._predictions.values() for batch in rows.finish())
        labels = tuple(batch for rows in self._labels.values() for batch in rows.finish())
        return Decoded(predictions, labels, items, self.tally.rejected, self.tally.message(), dict(self.tally.dropped))

    def _has_room(self, models: int) -> bool:
        if models < self.limits.models:
            return True
        self.tally.drop("models_over_limit")
        return False
