"""Show a reference in the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from collector_processor.reference.profile import Reference
from collector_processor.reference.summary import Summary, column_summary
from collector_processor.reference.task import listed
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline


def describe(reference: Reference) -> Group:
    """Return what a reference was built from, and a table with a line per column; names are never read as markup."""
    schema = reference.schema
    rows, attributions = reference.pane.rows, schema.fit(AttributionBaseline)
    facts = [
        ("model", reference.model_name),
        ("task", schema.task or "unknown"),
        ("classes", listed(schema.classes.names(0))),
        ("positive class", schema.positive_class),
        ("threshold", "" if schema.threshold is None else f"{schema.threshold:.6g}"),
        ("segments", listed(schema.groups.columns)),
        ("rows", f"{rows[1]:,.0f}" if rows[0] == rows[1] else f"{rows[1]:,.0f} (weight {rows[0]:,.6g})"),
        ("labels", f"{reference.pane.outcomes.labels[0]:,.6g}"),
        ("attributions", "" if attributions is None else listed(attributions.names)),
        ("source", reference.source),
        ("built at", reference.built_at),
    ]
    head = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts:
        if value:
            head.add_row(Text(name, style="bold"), Text(value))
    return Group(head, Text(), _columns(reference))


def _columns(reference: Reference) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("column", "role", "kind", "missing", "range or most frequent", "mean", "std"):
        right = heading in ("missing", "mean", "std")
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    schema = reference.schema
    for position, spec in enumerate(schema.columns):
        kind = "numeric" if position < len(schema.numeric) else "categorical"
        summary = column_summary(reference, position)
        cells = (
            spec.name, spec.role, kind, f"{summary.missing:.2%}", _values(summary),
            _figure(summary.mean), _figure(summary.std),
        )  # fmt: skip
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _values(summary: Summary) -> str:
    """Return the range of a numeric column, or the top categories of a categorical one."""
    if summary.top is None:
        return "no values" if summary.low is None else f"{_figure(summary.low)} … {_figure(summary.high)}"
    shown = ", ".join(f"{name} {share:.1%}" for name, share in summary.top)
    more = summary.categories - len(summary.top)
    return (f"{shown} and {more} more" if more > 0 else shown) or "no values"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
