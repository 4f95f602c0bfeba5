"""How a board looks: no holes, titles a person would write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards.boards import boards
from collector_processor.generate.dashboards.generic import sentence, title_of


def lines() -> Iterator[tuple[str, list[int]]]:
    """The widths of the panels of each line of each board."""
    grafana = pytest.importorskip("collector_processor.generate.dashboards.grafana")
    for board in boards():
        document = grafana.dashboard(board)
        for group in (document.panels, *(item.panels for item in document.panels if item.type_val == "row")):
            tops: dict[int, list[int]] = {}
            for panel in group:
                tops.setdefault(panel.grid_pos.y, []).append(panel.grid_pos.w)
            for top, widths in tops.items():
                yield f"{board.uid} line {top}", widths


def test_every_line_of_a_board_is_full() -> None:
    holes = {where: widths for where, widths in lines() if sum(widths) != 24}
    assert holes == {}


def test_titles_and_texts_have_words_not_names() -> None:
    known = Catalog.of_registries()
    assert title_of("ml.drift.p_value") == "Drift p-value"
    assert title_of("otel_ml_evaluate_seconds") == "Time to evaluate"
    own = known.of("own")
    assert [item.name for item in own if "_" in title_of(item.name) or "_" in sentence(item.description)] == []
