"""What a model's classes mean: which one is positive, from which score on it is predicted, which labels match.

Precedence: configuration, then the reference profile, then the sender, then the names of the classes. An operator can
correct what is deployed; the sums of a profile are about its positive class; a sender may be older than both. What is
overruled is reported once and stays in the model's state. A score that is about the other class is turned around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from collector_processor.columns.batch import Column, LabelBatch, PredictionBatch
from collector_processor.labels.truth import label_cells
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.estimated_performance import WITHOUT, share_without
from collector_processor.monitors.performance import DROP, PerformanceMonitor, undecided_labels
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.label_words import renamed, respell, respell_positive
from collector_processor.pipeline.score_words import check_threshold, without_classes, without_ranking
from collector_processor.pipeline.watched import GUESSED, GUESSED_WRONG, OF_PREDICTED, Model, Watch
from collector_processor.reference.scored_class import Shown, shown_by, turned
from collector_processor.reference.task import is_conventional, listed, opposite, positive_among, shown_positive
from collector_processor.statistics.classes import decision_threshold
from collector_processor.statistics.outcomes import CLASS_SUMS, SCORE_SUMS
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.texts import as_texts
from collector_processor.window.closed import Window
from otel_ml import semconv

MAX_NAMES: Final = 1000
"""Most classes of predictions that are remembered for one model, and of labels that match none of them."""
_BINARY: Final = "binary_classification"


def understood(
    model: Model, watch: Watch, batch: PredictionBatch, labeled: Callable[[], Sequence[str]]
) -> PredictionBatch:
    """Return a batch in the model's terms, after taking from it what is not known yet of the model's classes.

    ``labeled`` returns classes of labels that wait for predictions.
    """
    schema = watch.windows.schema
    if schema.task == "regression":
        return batch
    names = (*(() if batch.prediction is None else batch.prediction.categories), *batch.scores)
    before = len(model.predicted)
    _remember(model.predicted, names)
    if len(model.predicted) > before or not model.spelled:
        model.spelled = True
        respell(model, watch, labeled()[:MAX_NAMES], watch.telemetry)
    if schema.task != _BINARY:
        return batch
    if len(model.predicted) > before:
        respell_positive(model, watch)
    shown = shown_by(batch)
    if not schema.positive_class or model.tentative:
        sent = batch.positive_class or shown_positive(shown.scored, _names(model, watch))
        decide(model, watch, renamed(dict.fromkeys(labeled(), 1), schema.meant), sent)
    _check_scores(model, schema, batch.positive_class, shown)
    sent, positive = batch.positive_class, schema.positive_class
    about_other = bool(sent and positive) and sent != positive
    known = about_other and sent in _names(model, watch)
    _take_threshold(model, schema, batch.threshold, turn=known)
    model.scored = True
    if not about_other:
        check_threshold(model, schema, batch)
        return batch
    model.report(
        "positive_class", "the sender says that its score is about the class %r; figures are about %r", sent, positive
    )
    return turned(batch) if known else batch


def _check_scores(model: Model, schema: Schema, sent: str, shown: Shown) -> None:
    """Report it if the scores are not about the positive class, unless the sender says so itself."""
    if shown.of_predicted is not None:
        set_of_predicted(model, shown.of_predicted)
    if sent and sent != schema.positive_class:
        return
    if shown.scored and schema.positive_class and shown.scored != schema.positive_class:
        model.report(
            "scored_class",
            "predictions of the class %r have the higher scores, but figures of scores are about the positive class %r;"
            " send the score of that class, or set positive_class",
            shown.scored,
            schema.positive_class,
        )


def set_of_predicted(model: Model, of_predicted: bool) -> None:
    """Report it if the scores are those of the predicted class: figures of scores are left out while they are."""
    text = (
        "scores seem to be the probability of the predicted class, whichever it is: those of both classes are from"
        " one half to 1; figures of scores are left out; send the probability of the positive class"
    )
    _set(model, OF_PREDICTED, of_predicted, text)


def decide(model: Model, watch: Watch, labeled: Iterable[str], sent: str = "") -> None:
    """Decide the positive class of a binary model: as sent, else by the names of all classes that came.

    One class whose name is the opposite of a positive one (``0``, ``no``) decides too, until other classes come.
    """
    schema = watch.windows.schema
    _remember(model.labeled, labeled)
    if schema.task != _BINARY or (schema.positive_class and not model.tentative):
        return
    names = _names(model, watch)
    if model.tentative and (schema.positive_class in names or len(names) < 2):
        model.tentative = schema.positive_class not in names
        if not model.tentative and watch.first_labels is not None and watch.first_labels.reference is not None:
            watch.first_labels.start_over()  # they were all of one class, and have no recall
        return
    given = sent if sent in names or len(names) < 2 else ""
    positive = given or positive_among(names) or opposite(names)
    if not positive:
        return
    if not given:
        report_guess(model, positive, names)
    wrong: frozenset[str] = frozenset()
    if schema.positive_class:
        wrong = SCORE_SUMS | CLASS_SUMS
    elif schema.classes.find(0, positive) is not None:
        wrong = SCORE_SUMS  # until now there was one class, whose labels counted as negative
    model.tentative = not given and positive not in names
    model.problems.pop(GUESSED_WRONG, None)
    watch.decide(positive, wrong)


def report_guess(model: Model, positive: str, names: Iterable[str]) -> None:
    """Report a positive class that only the order of the names suggests."""
    names = sorted(names)
    if not is_conventional(positive, names):
        model.report(
            GUESSED,
            "the positive class is taken to be %r, the last of: %s; set positive_class if it is another one",
            positive,
            listed(names),
        )


def adopt(model: Model, schema: Schema) -> None:
    """Apply the model's configuration to the schema that its windows get."""
    settings = model.settings
    if schema.task == _BINARY and not schema.positive_class and settings.positive_class:
        schema.decide(settings.positive_class)
    if settings.threshold is not None:
        if schema.threshold is not None and schema.threshold != settings.threshold:
            model.report(
                "threshold",
                "its configuration has the threshold %g, its reference %g; the configuration counts",
                settings.threshold,
                schema.threshold,
            )
        schema.set_threshold(settings.threshold)


def _take_threshold(model: Model, schema: Schema, sent: float | None, *, turn: bool) -> None:
    if sent is None:
        return
    if turn:
        sent = math.nextafter(1.0 - sent, math.inf)  # the other class is predicted below the threshold
    if not model.threshold_given():
        if model.scored:
            check_change(model, decision_threshold(schema), sent)
        schema.set_threshold(sent)
    elif str(sent) != str(schema.threshold):
        model.report(
            "threshold", "the sender's threshold is %g; its configuration or reference has %g", sent, schema.threshold
        )


def check_change(model: Model, before: float, after: float) -> None:
    """Report it if windows have predictions that another threshold decided; NaN decided none."""
    if before == before and before != after:
        model.problems.pop("threshold_changed", None)
        model.report(
            "threshold_changed",
            "its threshold changed from %g to %g: classes that scores decide mix both in the windows that have "
            "predictions from before",
            before,
            after,
        )


def label_names(labels: LabelBatch) -> dict[str, int]:
    """Return how many labels name each class; a number counts as the class of its text if it is an integer."""
    cell = label_cells(labels)
    counts: dict[str, int] = {}
    for column in (Column(None, cell.codes, cell.categories), as_texts(Column(cell.numbers))):
        if column.codes is not None:
            rows = np.bincount(column.codes + 1, minlength=len(column.categories) + 1)[1:]
            for name, count in zip(column.categories, rows.tolist(), strict=True):
                if count:
                    counts[name] = counts.get(name, 0) + count
    return counts


def check_labels(model: Model, watch: Watch, counts: Mapping[str, int], telemetry: Telemetry) -> None:
    """Count labels of classes that no prediction and no reference ever had; report them once."""
    schema = watch.windows.schema
    known = {*watch.reference.schema.classes.names(0), *model.predicted}
    if schema.task == "regression" or len(known) < 2:
        return
    unmatched = {name: count for name, count in counts.items() if name not in known and name != schema.positive_class}
    if unmatched:
        telemetry.unmatched_labels.labels(str(model.key)).inc(sum(unmatched.values()))
        _remember(model.unmatched, unmatched)
        model.report("unmatched_labels", "%s", _unmatched(model, known))
    elif not model.unmatched:
        return
    model.unmatched = {name: None for name in model.unmatched if name not in known}
    if model.unmatched:
        model.problems["unmatched_labels"] = _unmatched(model, known)
    else:
        model.problems.pop("unmatched_labels", None)


def _unmatched(model: Model, known: Iterable[str]) -> str:
    wrong, right = (listed([repr(name) for name in sorted(names)], 10) for names in (model.unmatched, known))
    return f"labels name classes that no prediction and no reference has: {wrong}; known are: {right}"


def check_figures(model: Model, watch: Watch, window: Window, measured: Sequence[Measurement]) -> None:
    """Report it if a window has enough labels, but no performance or only a part of it."""
    share = share_without(window)
    text = (
        f"for {share:.0%} of the predictions, the score is missing or not one that the calibration is about; estimates"
    )
    _set(model, "without_estimate", share > WITHOUT, text + " of performance are left out")
    monitor = next((each for each in watch.monitors if isinstance(each, PerformanceMonitor)), None)
    schema, labels = watch.windows.schema, float(window.pane.outcomes.labels[0])
    if monitor is None or labels < monitor.min_labels:
        return
    undecided = schema.task == _BINARY and not schema.positive_class
    of_labels = (semconv.PERFORMANCE_SOURCE, semconv.SOURCE_LABELS)
    some = any(of_labels in item.attributes and item.name != DROP.name for item in measured)
    only = listed(_names(model, watch)) or "none"
    _set(
        model,
        "no_positive_class",
        undecided,
        f"labels arrive, but precision, recall and figures of scores need two classes or positive_class; known: {only}",
    )
    _set(
        model,
        "undecided_labels",
        bool(undecided_labels(schema, window.pane.outcomes)[0]),
        "labels came before the positive class was known, so their scores decided no class: accuracy, precision, recall"
        " and F1 are left out while these labels are in the window",
    )
    reason = without_ranking(model, watch, window, measured)
    _set(model, "no_roc_auc", bool(reason), reason)
    reason = without_classes(schema, window)
    _set(model, "scores_decide_nothing", bool(reason), reason)
    what = "value" if schema.task == "regression" else "class and no score"
    _set(model, "no_performance", not some, f"labels join, but give no performance: their predictions have no {what}")


def _set(model: Model, kind: str, wrong: bool, text: str) -> None:
    if wrong:
        model.report(kind, "%s", text)
    else:
        model.problems.pop(kind, None)


def _names(model: Model, watch: Watch) -> list[str]:
    """Return every class that the reference, a prediction or a label had."""
    return list(dict.fromkeys((*watch.reference.schema.classes.names(0), *model.predicted, *model.labeled)))


def _remember(known: dict[str, None], names: Iterable[str]) -> None:
    for name in names:
        if name not in known and len(known) < MAX_NAMES:
            known[name] = None
