"""Every reason for a drop, and whether it is intentional; this is defined only here.

A drop is *intentional* if a policy or a limit asks for it. It is not if an error causes it: input that cannot be used,
state that does not fit, a bug. The alert ``service_drops`` fires on drops that are not intentional.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

DecodeReason = Literal[
    "attributions_over_limit",
    "categories_over_limit",
    "cells_over_limit",
    "classes_over_limit",
    "features_over_limit",
    "label_without_id",
    "label_without_value",
    "models_over_limit",
    "name_too_long",
    "rows_over_limit",
    "segments_over_limit",
    "text_repaired",
    "text_truncated",
    "unknown_schema",
    "unsupported_value",
]
"""Why a part of a request was left out (``Decoded.dropped``); the request itself was accepted."""
InferenceReason = Literal[
    "component",
    "copy",
    "feature_names",
    "forward_failed",
    "forward_queue_full",
    "outputs",
    "rows_differ",
    "shape",
    "type",
    "unreadable",
]
"""Why an inference event, or what it says, was left out; the event itself was accepted."""
StatisticsReason = Literal[
    "unknown_feature",
    "failed",
    "observations_refused",
    "observations_unknown",
    "observations_fell",
    "observations_stale",
    "observations_baseline",
]
"""Why rows or cells of a decoded request were not counted."""
FigureReason = Literal["undecided", "incomplete", "without_scores", "selected_labels", "wrong_scores", "counted"]
"""Why a figure of a window was left out although there are rows for it."""
Drop = (
    tuple[Literal["receiver"], Literal["loop"]]
    | tuple[Literal["events"], InferenceReason]
    | tuple[Literal["journal"], Literal["destination_lagging", "stopped"]]
    | tuple[Literal["decode"], DecodeReason]
    | tuple[Literal["models"], Literal["limit"]]
    | tuple[Literal["statistics"], StatisticsReason]
    | tuple[Literal["labels"], Literal["failed", "no_class"]]
    | tuple[Literal["window"], Literal["late", "retraction_expired"]]
    | tuple[Literal["figures"], FigureReason]
    | tuple[Literal["status"], Literal["series_limit"]]
    | tuple[Literal["export"], Literal["series_limit", "delta_series_limit", "name", "kind_conflict"]]
    | tuple[Literal["alerts"], Literal["limit"]]
    | tuple[Literal["state"], Literal["limit", "does_not_fit"]]
)
"""Stage and reason of a drop."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Whether a policy or a limit asked for a drop, and what is left out."""

    intentional: bool
    left_out: str


def _asked_for(left_out: str) -> Meaning:
    return Meaning(True, left_out)


def _by_error(left_out: str) -> Meaning:
    return Meaning(False, left_out)


DROPS: Final[Mapping[Drop, Meaning]] = {
    ("receiver", "loop"): _asked_for(
        "metrics and alerts that this service sent itself, and requests (1 each) that it has forwarded before"
    ),
    ("events", "type"): _asked_for("inference events that are neither a request nor a response"),
    ("events", "component"): _asked_for("inference events of components that `components` does not name"),
    ("events", "copy"): _asked_for("inference events with the id of an earlier one"),
    ("events", "unreadable"): _by_error("calls whose bodies cannot be read, of several in one request"),
    ("events", "rows_differ"): _by_error("rows of calls whose request and response have other numbers of rows"),
    ("events", "shape"): _by_error("cells of inference events that are nested, or of rows of unequal length"),
    ("events", "feature_names"): _by_error("cells of columns that the names in `features` do not fit"),
    ("events", "outputs"): _by_error("rows of outputs of inference events that nothing says how to read"),
    ("events", "forward_queue_full"): _asked_for("inference events for one slow sink in `forward_to`"),
    ("events", "forward_failed"): _by_error("inference events that the sink in `forward_to` did not take"),
    ("journal", "destination_lagging"): _asked_for(
        "spans, log records or points for one slow destination of originals"
    ),
    ("journal", "stopped"): _by_error("spans, log records or points that a stop could not deliver to a destination"),
    ("decode", "models_over_limit"): _asked_for("spans of more than 1,000 models in one request"),
    ("decode", "rows_over_limit"): _asked_for("rows of spans or batches beyond 1,000,000 rows in one request"),
    ("decode", "cells_over_limit"): _asked_for("rows of batches beyond 20,000,000 cells in one request"),
    ("decode", "features_over_limit"): _asked_for("cells of features beyond `limits.features`"),
    ("decode", "attributions_over_limit"): _asked_for("attributions of features beyond `limits.features`"),
    ("decode", "segments_over_limit"): _asked_for("cells beyond 100 segments"),
    ("decode", "classes_over_limit"): _asked_for("probabilities beyond 1,000 classes"),
    ("decode", "categories_over_limit"): _asked_for("texts beyond 100,000 distinct ones in a column of one request"),
    ("decode", "name_too_long"): _asked_for("cells whose name is longer than 256 bytes"),
    ("decode", "text_truncated"): _asked_for("the end of a text longer than 256 bytes"),
    ("decode", "text_repaired"): _by_error(
        "bytes of a text that are not UTF-8, or half of a character; the text has U+FFFD in their place"
    ),
    ("decode", "unsupported_value"): _by_error("lists, maps and bytes where a single value is expected"),
    ("decode", "unknown_schema"): _by_error("rows of a BentoML monitor whose schema has not come yet"),
    ("decode", "label_without_id"): _by_error("rows of a label batch without the id of a prediction"),
    ("decode", "label_without_value"): _by_error("rows of a label batch with neither class nor value"),
    ("models", "limit"): _asked_for("rows of models beyond `limits.models` while no model is idle"),
    ("statistics", "unknown_feature"): _asked_for("cells of features that the reference does not have"),
    ("statistics", "failed"): _by_error(
        "rows that were not counted because of an unexpected error; the log has the traceback"
    ),
    ("statistics", "observations_refused"): _by_error(
        "points of counts that a sender made without the reference file of this service, or by another one"
    ),
    ("statistics", "observations_unknown"): _by_error("points of counts in buckets that the reference does not have"),
    ("statistics", "observations_fell"): _by_error("points of cumulative counts that fell without a new start"),
    ("statistics", "observations_stale"): _asked_for("points of counts over a longer time than a window"),
    ("statistics", "observations_baseline"): _asked_for(
        "first points of cumulative counts that began before this service knew their sender"
    ),
    ("labels", "failed"): _by_error(
        "labels that were not joined because of an unexpected error; the log has the traceback"
    ),
    ("labels", "no_class"): _by_error("labels whose class is empty, or a text for a missing one such as `nan`"),
    ("window", "late"): _asked_for("rows that arrived after `allowed_lateness`"),
    ("window", "retraction_expired"): _asked_for("corrections of outcomes that are no longer in any window"),
    ("figures", "undecided"): _asked_for("figures of a window that the bins of the scores do not decide"),
    ("figures", "incomplete"): _asked_for("figures of a window with rows from before an upgrade, which lack sums"),
    ("figures", "without_scores"): _asked_for(
        "figures of ranking of a window in which more than 1 % of the labels lack the scores of all classes"
    ),
    ("figures", "wrong_scores"): _asked_for("figures of scores that are not those of the positive class"),
    ("figures", "counted"): _asked_for("figures of drift by rows, of columns that senders count themselves"),
    ("figures", "selected_labels"): _asked_for("figures from labels and estimates together where labels are selected"),
    ("export", "series_limit"): _asked_for("points of new series beyond `limits.series`"),
    ("status", "series_limit"): _asked_for("series beyond `limits.series` in what the console and `/status` read"),
    ("export", "delta_series_limit"): _asked_for("points of new counters beyond those that delta temporality tracks"),
    ("export", "name"): _by_error("points whose name is not valid in Prometheus"),
    ("export", "kind_conflict"): _by_error("points whose Prometheus name is taken by a metric of another kind"),
    ("alerts", "limit"): _asked_for("series beyond `alerts.series` while all others fire"),
    ("state", "limit"): _asked_for("models of a snapshot beyond `limits.models`"),
    ("state", "does_not_fit"): _by_error("models or alerts of a snapshot that do not fit the configuration"),
}
