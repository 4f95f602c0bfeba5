"""Runs the demo: trains, serves, replays, monitors, checks that nothing was lost, and leaves files to look at."""

from __future__ import annotations

import contextlib
import pickle
import time
from pathlib import Path

import requests
from rich.console import Console
from rich.live import Live

from collector_processor.demo.figures import Figures, Totals, read_figures, read_totals
from collector_processor.demo.flights import (
    DELAYED,
    LATE_MINUTES,
    MODEL_NAME,
    MODEL_VERSION,
    REPORTED_AFTER,
    TRAINING_ENDS,
    TUNING_BEGINS,
    Flights,
    Trained,
    load_flights,
    scored_table,
    stage,
    train,
)
from collector_processor.demo.processes import ALERTS, DEFAULT_PORT, Ports, choose_ports, service, serving_app, until
from collector_processor.demo.replay import Replay
from collector_processor.demo.screen import live_screen, year_table
from collector_processor.demo.story import (
    CHAPTERS,
    EXPLANATION,
    Alarm,
    alarms_by_chapter,
    chapter_of,
    read_alarms,
    report,
    spans_of,
)
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import save_reference
from collector_processor.reference.read_table import ColumnMapping, read_table

_SETTLE_TIMEOUT_S = 30.0
_FILES = {
    "report.md": "the year in one table, and its alarms",
    "alerts.log": "each alert in the words in which you would get it",
    "metrics.txt": "what Prometheus scraped at the end",
    "train.parquet": "the flights of March with the model's outputs and the truth",
    "reference.json": "the reference that was built from them",
    "otel-ml.yaml": "the configuration of the service",
}


def run_demo(duration_s: float, *, live: bool = True, port: int | None = None, folder: Path) -> int:
    """Replay April to December in ``duration_s`` seconds; return 0 if everything sent was decoded and joined.

    ``live`` shows a live screen, and leaves the Prometheus endpoint up until Ctrl-C. ``folder`` gets the files.
    """
    if duration_s < 10:
        raise ValueError(f"--duration: {duration_s:g}s is too short for a year; allowed: at least 10s")
    # Checked before the training, not after it.
    ports = choose_ports(port)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=not live)
    if port is None and ports.prometheus != DEFAULT_PORT:
        console.print(f"Port {DEFAULT_PORT} is taken (another service?), so the demo uses free ports")
    console.print(f"Metrics: http://localhost:{ports.prometheus}/metrics    Files: {folder}")
    console.print(f"State of the model: http://localhost:{ports.own}/status")
    with contextlib.ExitStack() as stack:
        console.print("Reading the flights of 2013 from New York City")
        training, rest = load_flights().split(TRAINING_ENDS)
        rest = stage(rest)
        trained = _prepare(training, folder, console)
        console.print("Starting the service and the serving app (some seconds)")
        stack.enter_context(service(folder, ports))
        stack.enter_context(serving_app(folder, ports))
        console.print(
            f"Replaying April to December, {len(rest):,} flights, in {duration_s:g} s: a second is "
            f"{275 / duration_s:.1f} days.\n"
            f"The model predicts when a plane leaves. The label (the truth) comes {REPORTED_AFTER.days} days later;\n"
            "until then, the accuracy is estimated from the scores. Diverted flights never get a label."
        )
        replay = Replay(rest, f"http://localhost:{ports.app}", f"localhost:{ports.grpc}", duration_s)
        replay.start()
        stack.callback(replay.stop)
        chapters = _watch(replay, rest, ports, folder, console, live)
        code = _finish(replay, chapters, ports, folder, _described(trained), console, live)
    # Windows that were open close when the service stops, and may raise alarms, too.
    _write_report(folder, chapters, _alarms(folder, replay), _described(trained))
    return code


def _write_report(folder: Path, chapters: dict[str, Figures], alarms: list[Alarm], trained: str) -> None:
    (folder / "report.md").write_text(report(chapters, alarms, trained), encoding="utf-8")


def _prepare(training: Flights, folder: Path, console: Console) -> Trained:
    """Train, and write the model, the table, and the reference that is built from it."""
    fitting, tuning = training.split(TUNING_BEGINS)
    console.print(f"Training on {len(fitting):,} flights of January and February, tuning on {len(tuning):,} of March")
    trained = train(fitting, tuning)
    console.print(_described(trained))
    (folder / "model.pickle").write_bytes(pickle.dumps(trained.model))
    scored_table(trained, tuning).to_parquet(folder / "train.parquet", index=False)
    console.print("Building the reference from March")
    mapping = ColumnMapping(prediction="predicted", score="probability", label="outcome", segments=("origin",))
    table = read_table(folder / "train.parquet", mapping, model=MODEL_NAME)
    reference = build_reference(
        MODEL_NAME,
        table.predictions,
        positive_class=DELAYED,
        threshold=trained.threshold,
        segments=mapping.segments,
        label_classes=table.label_classes,
        source="train.parquet",
    )
    save_reference(reference, folder / "reference.json")
    return trained


def _described(trained: Trained) -> str:
    return (
        f"The model calls a flight delayed (more than {LATE_MINUTES} minutes late) if its score is at least "
        f"{trained.threshold:g}.\nIn March, {trained.precision:.0%} of the flights that it called delayed were delayed "
        f"(precision), and it\ncalled {trained.recall:.0%} of the delayed ones (recall)."
    )


def _watch(
    replay: Replay, flights: Flights, ports: Ports, folder: Path, console: Console, live: bool
) -> dict[str, Figures]:
    """Follow the replay to its end; return the last measurements of each chapter."""
    chapters: dict[str, Figures] = {}
    months, printed = set[str](), 0
    with Live(console=console, refresh_per_second=4, transient=True) if live else contextlib.nullcontext() as screen:
        while not replay.progress.done:
            time.sleep(0.2)
            now = replay.progress.now
            if now is None:
                continue
            latest = _add_latest(chapters, replay, ports)
            alarms = _alarms(folder, replay)
            if screen is None:
                if (month := f"{now:%B}") not in months:
                    months.add(month)
                    console.print(f"  {month}")
                for alarm in alarms[printed:]:  # the date of a printed one may still move
                    console.print(f"  {_line(alarm)}")
                printed = max(printed, len(alarms))
            else:
                share = replay.progress.predictions / len(flights)
                url = f"http://localhost:{ports.prometheus}/metrics"
                screen.update(live_screen(share, f"{now:%d %B}", chapters, alarms_by_chapter(alarms), latest, url))
    return chapters


def _line(alarm: Alarm) -> str:
    return f"{alarm.date:%d %b}: {'ALARM' if alarm.firing else 'over:'} {alarm.rule}"


def _alarms(folder: Path, replay: Replay) -> list[Alarm]:
    return read_alarms((folder / ALERTS).read_text(encoding="utf-8"), replay.progress.flight_date)


def _add_latest(chapters: dict[str, Figures], replay: Replay, ports: Ports) -> Figures:
    """Read the latest window, and keep it as the last one of the chapter in which it ended."""
    before = _arrived(ports).newest_s
    latest = read_figures(f"http://localhost:{ports.prometheus}/metrics")
    # Another window in between: the next look will have it.
    if latest.rows and before and before == _arrived(ports).newest_s:
        chapters[chapter_of(replay.progress.flight_date(before)).name] = latest
    return latest


def _arrived(ports: Ports) -> Totals:
    return read_totals(f"http://localhost:{ports.own}/metrics", f"{MODEL_NAME}@{MODEL_VERSION}")


def _finish(
    replay: Replay, chapters: dict[str, Figures], ports: Ports, folder: Path, trained: str, console: Console, live: bool
) -> int:
    """Print the year, compare what was sent with what arrived, write the report, and stay up if ``live``."""
    sent = replay.progress

    def complete() -> bool:
        totals = _arrived(ports)
        return totals.decoded >= sent.predictions and totals.joined >= sent.labels

    with console.status("Waiting for the last spans"):
        until(complete, _SETTLE_TIMEOUT_S)
    totals = _arrived(ports)
    url = f"http://localhost:{ports.prometheus}/metrics"
    chapters[next(reversed(chapters), CHAPTERS[-1].name)] = read_figures(url)
    alarms = _alarms(folder, replay)
    (folder / "metrics.txt").write_text(requests.get(url, timeout=5).text, encoding="utf-8")
    _write_report(folder, chapters, alarms, trained)
    console.print(year_table(chapters, alarms_by_chapter(alarms)))
    for line in spans_of(alarms):
        console.print(f"ALARM {line}")
    console.print("An alarm has the date at which it was raised. In a fast replay, that is days after its cause.")
    console.print(f"\nWhat happened (the flights are real; three events are staged):\n{EXPLANATION}\n")
    console.print(
        f"predictions: {sent.predictions:,} sent, {totals.decoded:,} decoded; "
        f"labels: {sent.labels:,} sent, {totals.joined:,} joined; {totals.rejected:,} refused"
    )
    if sent.failure or totals.decoded != sent.predictions or totals.joined != sent.labels:
        console.print(sent.failure or "These numbers do not match: something was lost.", style="red")
        return 1
    console.print("Everything that was sent arrived.", style="green")
    console.print(f"\nTo look at, in {folder}:")
    for name, text in _FILES.items():
        console.print(f"  {name:<15} {text}")
    if live:
        console.print(f"\nRunning until Ctrl-C: {url}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0
