"""What one request has been turned into so far, whatever decoder walks over its bytes."""

from __future__ import annotations

from collector_processor.columns.batch import Decoded
from collector_processor.decode.limits import DecodeLimits, Tally
from collector_processor.decode.rules.identify import Identity
from collector_processor.decode.rules.label_rows import LabelRows
from collector_processor.decode.rules.prediction_rows import PredictionRows


class Request:
    """Predictions by model, version, task and role, labels by model, and the account of what was refused.

    ``received_ns`` (Unix) is the event time of what has none of its own.
    """

    def __init__(self, received_ns: int, limits: DecodeLimits) -> None:
        self.received_ns = received_ns
        self.limits = limits
        self.tally = Tally(limits)
        self._predictions: dict[Identity, PredictionRows] = {}
        self._labels: dict[str, LabelRows] = {}

    def predictions_of(self, identity: Identity) -> PredictionRows | None:
        """Where the model's predictions go; None, and counted, where there are too many models already."""
        rows = self._predictions.get(identity)
        if rows is None and self._has_room(len(self._predictions)):
            rows = self._predictions[identity] = PredictionRows(identity, self.tally)
        return rows

    def labels_of(self, model_name: str) -> LabelRows | None:
        """Where the model's labels go; None, and counted, where there are too many models already."""
        rows = self._labels.get(model_name)
        if rows is None and self._has_room(len(self._labels)):
            rows = self._labels[model_name] = LabelRows(model_name, self.tally)
        return rows

    def decoded(self, items: int) -> Decoded:
        """Everything as batches; models in the order in which they first appeared, rows in that of the request."""
        predictions = tuple(batch for rows in self._predictions.values() for batch in rows.finish())
        labels = tuple(batch for rows in self._labels.values() for batch in rows.finish())
        return Decoded(predictions, labels, items, self.tally.rejected, self.tally.message(), dict(self.tally.dropped))

    def _has_room(self, models: int) -> bool:
        if models < self.limits.models:
            return True
        self.tally.drop("models_over_limit")
        return False
