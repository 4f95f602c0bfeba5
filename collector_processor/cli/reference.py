"""``otel-ml reference build`` and ``otel-ml reference show``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from collector_processor.cli.main import Parser
from collector_processor.cli.options import names, width
from collector_processor.drift.compat import TOOLS
from collector_processor.monitors.weighted_share import weights_left_out
from collector_processor.reference.advice import advice
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, save_reference
from collector_processor.reference.read_table import ColumnMapping, read_table
from collector_processor.reference.show import describe
from collector_processor.reference.task import may_be_classes
from otel_ml import semconv


def configure(parser: Parser) -> None:
    """Describe both commands."""
    parser.description = "Build a reference profile, with which live data is compared, or print one."
    build = parser.add_command(
        "build",
        "build a reference profile from training or validation data",
        "Build a reference profile from a table. The profile contains statistics only, no rows. "
        f"Columns with names such as {semconv.FEATURE}age or {semconv.PREDICTION_SCORE} need no option.",
    )
    build.add_argument("table", metavar="DATA", type=Path, help="Parquet, CSV or Arrow file")
    build.add_argument("--model", required=True, metavar="NAME", help="name of the model, as the application sends it")
    build.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to write the profile (JSON)")
    build.add_argument("--task", choices=semconv.TASKS, default="", help="task of the model (default: inferred)")
    build.add_argument(
        "--positive-class", default="", metavar="CLASS", help="class that score, precision and recall are about"
    )
    build.add_argument(
        "--threshold",
        type=_threshold,
        default=None,
        metavar="SCORE",
        help="least score of rows predicted as the positive class (default: 0.5)",
    )
    build.add_argument(
        "--features", type=names, default=None, metavar="A,B", help="feature columns (default: all other columns)"
    )
    build.add_argument("--categorical", type=names, default=(), metavar="A,B", help="columns to treat as categories")
    build.add_argument("--segments", type=names, default=(), metavar="A,B", help="columns to split metrics by")
    build.add_argument(
        "--attributions",
        default=None,
        metavar="PREFIX",
        help="prefix of columns with attributions (SHAP values): with shap_, shap_age is that of age",
    )
    build.add_argument(
        "--compat", choices=TOOLS, default="", help="add the bins and limits of this tool, for drift.compat"
    )
    for name, text in (
        ("prediction", "column of the predicted class or value"),
        ("score", "column of the probability of the positive class, or of the predicted class"),
        ("label", "column of the true class or value"),
        ("weight", "column of the row weights"),
    ):
        build.add_argument(f"--{name}", default=None, metavar="COLUMN", help=text)
    build.set_defaults(run=_reference_build)

    show = parser.add_command("show", "print a reference profile")
    show.add_argument("file", metavar="FILE", type=Path, help="reference profile")
    show.set_defaults(run=_reference_show)


def _threshold(text: str) -> float:
    threshold = float(text)
    if not math.isfinite(threshold):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return threshold


def _reference_build(options: argparse.Namespace) -> int:
    mapping = ColumnMapping(
        features=options.features,
        prediction=options.prediction,
        score=options.score,
        label=options.label,
        weight=options.weight,
        segments=options.segments,
        attributions=options.attributions,
    )
    folder: Path = options.out.parent
    if not folder.is_dir():
        raise OSError(f"--out: folder {folder} does not exist")
    out = Console(stderr=True, soft_wrap=True, highlight=False)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=out, transient=True, disable=not out.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int, step: str) -> None:
            bar.update(task, completed=done, total=total, description=step)

        table = read_table(options.table, mapping, model=options.model, task=options.task, progress=progress)
        reference = build_reference(
            options.model,
            table.predictions,
            task=options.task,
            positive_class=options.positive_class,
            threshold=options.threshold,
            segments=options.segments,
            categorical=options.categorical,
            label_classes=table.label_classes,
            label_values=table.label_values,
            source=options.table.name,
            compat=options.compat,
            progress=progress,
        )
    save_reference(reference, options.out)
    if not options.task and reference.schema.task == "regression" and may_be_classes(table.predictions.value):
        text = (
            "the task is regression, because predictions are numbers; if these whole numbers are classes, pass --task"
        )
        out.print(f"{text} multiclass_classification", style="yellow", markup=False)
    labels = table.label_classes is not None or table.label_values is not None
    unweighted = weights_left_out(reference)
    for sentence in (*reference.notes, *unweighted, *advice(table.predictions, labels=labels)):
        out.print(sentence, style="yellow", markup=False)
    rows = reference.pane.rows[1]
    out.print(f"{options.out}: {rows:,.0f} rows, {len(reference.schema.columns)} columns", style="green", markup=False)
    return 0


def _reference_show(options: argparse.Namespace) -> int:
    Console(highlight=False, width=width()).print(describe(load_reference(options.file)))
    return 0
