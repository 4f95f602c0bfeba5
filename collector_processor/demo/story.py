"""The story of the year: its chapters, the figures at the end of each, and the alarms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import pandas as pd

from collector_processor.demo.figures import Figures
from collector_processor.demo.flights import (
    BROKEN_FEED,
    HARD_FLIGHTS,
    HARD_MINUTES,
    REPORTED_AFTER,
    RUNWAY_CLOSES,
    RUNWAY_MINUTES,
    RUNWAY_ORIGIN,
)

_ALERT = re.compile(r"^(\S+Z) ALERT \[(\w+)\] .*\n(?:  .*\n)*?  Rule (\w+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the year; ``event`` is what happened in it."""

    begins: pd.Timestamp
    ends: pd.Timestamp
    event: str = ""

    @property
    def name(self) -> str:
        """The last day: the figures are those of the latest window."""
        return f"{self.ends - pd.Timedelta(days=1):%d %b}".lstrip("0")


def _chapters() -> tuple[Chapter, ...]:
    first, last = (moment + REPORTED_AFTER for moment in HARD_FLIGHTS)
    ends = [*pd.date_range("2013-05-01", "2014-01-01", freq="MS"), *BROKEN_FEED, *HARD_FLIGHTS, first, last]
    edges: list[Any] = [pd.Timestamp("2013-04-01"), *sorted(ends)]
    events = {
        pd.Timestamp("2013-06-01"): "summer: warmer than the reference",
        BROKEN_FEED[0]: "FEED: delays in seconds",
        BROKEN_FEED[1]: "feed repaired",
        HARD_FLIGHTS[0]: f"POPULATION: only flights 0 to {HARD_MINUTES} min late",
        first: "their first labels",
        HARD_FLIGHTS[1]: "all flights again, and the last labels of the hard ones",
        RUNWAY_CLOSES: f"WORLD: {RUNWAY_ORIGIN} +{RUNWAY_MINUTES} min",
    }
    return tuple(Chapter(begin, end, events.get(begin, "")) for begin, end in pairwise(edges))


CHAPTERS = _chapters()


def chapter_of(moment: pd.Timestamp) -> Chapter:
    """Return the chapter of a moment; the last one for flights that leave after midnight of New Year's Eve."""
    return next((chapter for chapter in CHAPTERS if moment < chapter.ends), CHAPTERS[-1])


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert that began (or ended), and the date in 2013 that the replay had reached then."""

    rule: str
    firing: bool
    date: pd.Timestamp


def read_alarms(log: str, flight_date: Callable[[float], pd.Timestamp]) -> list[Alarm]:
    """Return the alerts that the debug exporter printed, in their order."""
    return [
        Alarm(rule, state != "resolved", flight_date(datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()))
        for time, state, rule in _ALERT.findall(log)
    ]


def alarms_by_chapter(alarms: Sequence[Alarm]) -> Mapping[str, str]:
    """Return, for each chapter, the alarms that fired and ended in it, in words."""
    words: dict[str, list[str]] = {}
    for alarm in alarms:
        words.setdefault(chapter_of(alarm.date).name, []).append(alarm.rule if alarm.firing else f"({alarm.rule} ends)")
    return {name: ", ".join(dict.fromkeys(each)) for name, each in words.items()}


def of_chapters(chapters: Mapping[str, Figures], fired: Mapping[str, str]) -> list[tuple[str, Figures]]:
    """Return the chapters with figures or alarms, in the order of the year.

    On a busy machine, no look may fall on the last window of a chapter: it has no figures then.
    """
    return [
        (chapter.name, chapters.get(chapter.name, Figures()))
        for chapter in CHAPTERS
        if chapter.name in chapters or chapter.name in fired
    ]


def spans_of(alarms: Sequence[Alarm]) -> list[str]:
    """Return a line for each alarm, in the order of their beginnings: the dates in 2013 of its begin and end."""
    begun: list[tuple[str, pd.Timestamp, str]] = []
    open_: dict[str, pd.Timestamp] = {}
    for alarm in alarms:
        if alarm.firing:
            open_.setdefault(alarm.rule, alarm.date)
        elif alarm.rule in open_:
            begun.append((alarm.rule, open_.pop(alarm.rule), f"ended {_day(alarm.date)}"))
    begun += [(rule, date, "still firing at the end") for rule, date in open_.items()]
    return [f"{rule}: fired {_day(date)}, {end}" for rule, date, end in sorted(begun, key=lambda each: each[1])]


def _day(moment: pd.Timestamp) -> str:
    return f"{moment:%d %b}".lstrip("0")


def report(chapters: Mapping[str, Figures], alarms: Sequence[Alarm], trained: str) -> str:
    """Return a short report of the year in Markdown."""
    fired = alarms_by_chapter(alarms)
    events = {chapter.name: chapter.event for chapter in CHAPTERS}
    head = (
        "week until",
        "estimated accuracy",
        "accuracy",
        "precision",
        "recall",
        "ROC AUC",
        "delay PSI",
        "temp PSI",
        CAUSE,
        "what happened",
        "alarms",
    )
    rows = [
        (
            name, _share(each.estimated),
            *(_share(value) for value in (each.accuracy, each.precision, each.recall, each.roc_auc)),
            *(_share(each.drift.get(column, (None,))[0]) for column in ("departure_delay", "temp")),
            cause(each), events.get(name, ""), fired.get(name, ""),
        )
        for name, each in of_chapters(chapters, fired)
    ]  # fmt: skip
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    alarm_lines = "\n".join(f"- {line}" for line in spans_of(alarms)) or "- none"
    return (
        f"# The year 2013\n\n{trained}\n\n{table}\n\n## Alarms\n\n{alarm_lines}\n\n## What to learn\n\n{EXPLANATION}\n"
    )


EXPLANATION = f"""\
- Labels come {REPORTED_AFTER.days} days after a flight. Until then the accuracy is estimated from the scores alone.
- 8 to 14 July, staged: the feed reports departure delays in seconds instead of minutes. The drift of that one feature
  finds it without labels. The model believes in long delays, and so does the estimate: it is as good as its inputs.
  Their labels come later. To a detector that knows only scores, a broken feature looks like a changed world:
  `concept_drift` fires, and stays on for weeks after the repair. So look at the features first.
- 12 August to 8 September, staged: the app asks only about flights that leave up to {HARD_MINUTES} minutes late, which
  are hard to predict. The estimate falls over two weeks, as these flights fill the window, and `harder_flights` fires,
  as does the built-in `harmful_shift` in a replay of 180 s. Compare the estimate of a row with the accuracy
  {REPORTED_AFTER.days} days later. No new alarm says that the world changed, because only the *population* did.
  `departure_delay_changed` fires, too: only delays of 1 to {HARD_MINUTES - 1} minutes are left. The alarm of July's
  broken feed may still be on.
- From 1 October, staged: a runway at {RUNWAY_ORIGIN} closes, and its flights arrive {RUNWAY_MINUTES} minutes later.
  No feature and no estimate shows it. Labels do, and say that the *world* changed: the model has to be trained again.
- Summer, real: temperatures drift from a reference made in March, and the model is as good as before.
- 31 December, real: the weather of that day is not in the data, so `missing_features` fires.
- Everything else is as it was in 2013. Single weeks of a good model differ: storms, holidays, quiet Septembers."""


CAUSE = "cause (points of accuracy)"


def cause(figures: Figures) -> str:
    """Return the cause that changed the accuracy most in the direction in which it changed; both by two points."""
    change = figures.accuracy_change
    along = (item for item in figures.causes.items() if item[1] * change > 0.0)
    name, points = max(along, key=lambda item: abs(item[1]), default=("", 0.0))
    return f"{name} {100 * points:+.0f}" if min(abs(points), abs(change)) >= 0.02 else ""


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
