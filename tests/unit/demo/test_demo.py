"""The demo: its ports, its three events, and the story that it tells of them."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import socket
from itertools import pairwise

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from collector_processor.demo import figures, flights, run
from collector_processor.demo.figures import Figures
from collector_processor.demo.flights import DELAYED, load_flights, scored_table, train
from collector_processor.demo.processes import DEFAULT_PORT, choose_ports
from collector_processor.demo.replay import Progress
from collector_processor.demo.screen import year_table
from collector_processor.demo.story import (
    CHAPTERS,
    Alarm,
    alarms_by_chapter,
    cause,
    chapter_of,
    read_alarms,
    report,
    spans_of,
)
from collector_processor.generate.catalog import Catalog
from otel_ml.frameworks.sklearn.estimators import layers
from otel_ml.frameworks.sklearn.thresholds import threshold_of

LOG = """\
2013-07-10T00:00:00.000Z ALERT [critical] flight-delay 2013-q1: delays differ: departure_delay 2.1
  Rule delays (critical): ml.drift.score above 0.5
  Since 2013-07-10T00:00:00Z
2013-07-16T00:00:00.000Z ALERT [resolved] flight-delay 2013-q1: delays differ
  The problem is over.
  Rule delays (critical): ml.drift.score above 0.5
  Since 2013-07-10T00:00:00Z, until 2013-07-16T00:00:00Z
2013-10-04T00:00:00.000Z ALERT [critical] flight-delay 2013-q1: worse
  Rule performance_drop (critical): ml.performance.certain_drop above 0.1
"""


def some_flights(*rows: tuple[str, str, float]) -> flights.Flights:
    departure = pd.Series([pd.Timestamp(row[0]) for row in rows])
    features = pd.DataFrame({"origin": [row[1] for row in rows], "departure_delay": [row[2] for row in rows]})
    return flights.Flights(features, departure, pd.Series([0.0] * len(rows)), departure)


def test_a_service_on_the_usual_port_does_not_stop_the_demo() -> None:
    with socket.socket() as service:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # someone else has it: as good
            service.bind(("127.0.0.1", DEFAULT_PORT))
            service.listen()
        ports = choose_ports(None)
    assert DEFAULT_PORT not in (ports.prometheus, ports.grpc, ports.health, ports.own, ports.app)
    assert len({ports.prometheus, ports.grpc, ports.health, ports.own, ports.app}) == 5


def test_the_broken_feed_changes_a_feature_and_the_runway_changes_the_truth() -> None:
    before = some_flights(
        ("2013-07-07", "LGA", 5), ("2013-07-10", "LGA", 5), ("2013-07-15", "LGA", 5),
        ("2013-09-30", "JFK", 5), ("2013-10-01", "JFK", 5), ("2013-10-01", "LGA", 5),
    )  # fmt: skip
    after = flights.stage(before)
    assert after.features["departure_delay"].tolist() == [5, 300, 5, 5, 5, 5]
    assert after.outcome.tolist() == ["as_planned"] * 4 + ["delayed", "as_planned"]
    assert before.features["departure_delay"].tolist() == [5] * 6


def test_for_four_weeks_only_hard_flights_are_asked_about() -> None:
    begins, ends = (f"{moment:%Y-%m-%d}" for moment in flights.HARD_FLIGHTS)
    late = [-3.0, 0.0, 5.0, 59.0, 60.0]
    before = some_flights(*((day, "LGA", delay) for day in ("2013-08-11", begins, ends) for delay in late))
    after = flights.stage(before)
    assert after.features["departure_delay"].tolist() == [*late, 5.0, 59.0, *late]
    assert len(after.departure) == len(after.known_at) == len(after.outcome) == 12


def test_each_day_has_its_chapter() -> None:
    names = [
        chapter_of(pd.Timestamp(day)).name
        for day in (
            "2013-04-01",
            "2013-07-14",
            "2013-07-15",
            "2013-08-12",
            "2013-08-22",
            "2013-09-08",
            "2013-09-09",
            "2014-01-01",
        )
    ]
    assert names == ["30 Apr", "14 Jul", "31 Jul", "21 Aug", "31 Aug", "8 Sep", "18 Sep", "31 Dec"]
    assert all(one.ends == other.begins for one, other in pairwise(CHAPTERS))


def test_the_alarms_of_the_log_are_told_by_the_dates_of_the_flights() -> None:
    alarms = read_alarms(LOG, lambda unix_s: pd.Timestamp(unix_s, unit="s"))
    assert [alarm.rule for alarm in alarms] == ["delays", "delays", "performance_drop"]
    assert alarms[1] == Alarm("delays", firing=False, date=pd.Timestamp("2013-07-16"))
    assert alarms_by_chapter(alarms) == {
        "14 Jul": "delays", "31 Jul": "(delays ends)", "31 Oct": "performance_drop"
    }  # fmt: skip
    assert spans_of(alarms) == [
        "delays: fired 10 Jul, ended 16 Jul", "performance_drop: fired 4 Oct, still firing at the end"
    ]  # fmt: skip


def test_a_chapter_without_figures_keeps_its_alarms() -> None:
    """On a busy machine, no look may fall on its last window."""
    alarms = [Alarm("harder_flights", firing=True, date=pd.Timestamp("2013-08-26"))]
    seen = {"8 Sep": Figures(accuracy=0.8), "21 Aug": Figures(accuracy=0.9)}
    told = report(seen, alarms, "").splitlines()
    names = [line.split(" | ")[0] for line in told if line.startswith("| ")]
    assert names == ["| week until", "| ---", "| 21 Aug", "| 31 Aug", "| 8 Sep"]
    [row] = [line for line in told if line.startswith("| 31 Aug")]
    assert row.startswith("| 31 Aug | – | – |")
    assert row.endswith("| harder_flights |")
    assert "31 Aug" in shown(year_table(seen, alarms_by_chapter(alarms)))


def shown(table: Table) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_the_table_cuts_nothing_off_in_80_columns() -> None:
    figures = Figures(0, 0.9, 0.91, roc_auc=0.925, causes={"population": -0.16}, accuracy_change=-0.2)
    told = shown(year_table({chapter.name: figures for chapter in CHAPTERS}, {"14 Jul": "departure_delay_changed"}))
    assert "…" not in told
    assert "departure_delay_changed" not in told  # alarms are listed below it
    assert told.count("population -16") == len(CHAPTERS)
    assert max(len(line) for line in told.splitlines()) <= 80
    words = set(told.split())
    for chapter in CHAPTERS:
        assert set(chapter.event.split()) <= words


@pytest.mark.parametrize(
    ("change", "causes", "told"),
    [
        (-0.2, {"population": -0.03, "world": -0.16}, "world -16"),
        (0.0, {"world": -0.02}, ""),
        (-0.003, {"world": -0.02}, ""),
        (0.03, {"world": -0.06}, ""),
        (-0.15, {"world": -0.17, "population": 0.02}, "world -17"),
        (-0.015, {"world": -0.015}, ""),
    ],
    ids=["the larger", "no change", "nearly none", "the other sign", "another one lowered it", "less than two points"],
)
def test_a_cause_is_a_part_of_what_changed(change: float, causes: dict[str, float], told: str) -> None:
    assert cause(Figures(causes=causes, accuracy_change=change)) == told


def test_the_serving_app_sends_the_classes_and_the_threshold_of_the_reference() -> None:
    """A class that is sent counts more than a threshold: cut at 0.5, it would contradict the reference."""
    year = load_flights()
    fitting, tuning = year.part(slice(0, 3000)), year.part(slice(3000, 4000))
    trained = train(fitting, tuning)
    table = scored_table(trained, tuning)
    assert trained.model.predict(tuning.features).tolist() == table["predicted"].tolist()
    threshold = threshold_of(layers(trained.model))
    assert threshold is not None
    assert (threshold.value, threshold.positive) == (trained.threshold, DELAYED)
    assert trained.threshold != 0.5


def test_the_figures_that_the_demo_reads_are_among_those_that_the_service_exports() -> None:
    catalog = list(Catalog.of_registries())
    exported = {name for series in catalog for name in series.names}
    labels = {label for series in catalog for label in series.labels}
    read = set(re.findall(r'"(ml_[a-z0-9_]*[a-z0-9])"', inspect.getsource(figures))) - labels
    assert {*read, *figures._CAUSES} <= exported


def test_the_report_has_the_alarms_of_windows_that_close_when_the_service_stops(tmp_path, monkeypatch) -> None:
    (tmp_path / "alerts.log").write_text(LOG)

    class Played:
        def __init__(self, *_: object) -> None:
            self.progress = Progress()
            self.progress.departures.extend(pd.date_range("2013-04-01", "2013-12-31"))
            self.progress.answered_s.extend(day.timestamp() for day in self.progress.departures)
            self.start = self.stop = lambda: None

    @contextlib.contextmanager
    def service(folder, _):
        yield
        with (folder / "alerts.log").open("a") as log:
            log.write(LOG.splitlines()[-2].replace("worse", "worse still").replace("10-04", "12-24") + "\n")
            log.write(LOG.splitlines()[-1].replace("performance_drop", "at_the_stop") + "\n")

    def finish(replay, chapters, _, folder, trained, *__):
        run._write_report(folder, chapters, run._alarms(folder, replay), trained)
        return 0

    for name, replaced in {
        "service": service,
        "serving_app": lambda *_: contextlib.nullcontext(),
        "load_flights": lambda: some_flights(("2013-02-01", "JFK", 0.0), ("2013-05-01", "JFK", 0.0)),
        "stage": lambda rest: rest,
        "_prepare": lambda *_: None,
        "_described": lambda _: "trained",
        "_watch": lambda *_: {},
        "_finish": finish,
        "Replay": Played,
    }.items():
        monkeypatch.setattr(run, name, replaced)
    assert run.run_demo(60.0, live=False, folder=tmp_path) == 0
    assert "at_the_stop" in (tmp_path / "report.md").read_text()
