"""The state as JSON, for ``GET /status``: models and alerts by name, without features and their values."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from collector_processor.serving.routes import JSON, Handler, HttpAnswer, HttpRequest
from collector_processor.status.board import Board
from collector_processor.status.state import FiringAlert, ModelState


def status_handler(board: Board, problem: Callable[[], str]) -> Handler:
    """Return a handler that shows the state on the board; ``problem`` returns an empty string if all is well."""

    def answer(_: HttpRequest) -> HttpAnswer:
        state, wrong = board.state, problem()
        body = {
            "status": wrong or "Server available",
            **state.counts(),
            "time": _time(state.time_ns),
            "details": [_model(model, state.alerts_of(key)) for key, model in state.models.items()],
        }
        return HttpAnswer(json.dumps(body).encode(), JSON, 503 if wrong else 200)

    return answer


def _model(model: ModelState, alerts: list[FiringAlert]) -> dict[str, Any]:
    window, learning = model.window, model.learning
    return {
        "model": model.key.name,
        "version": model.key.version,
        "phase": model.phase,
        "reason": model.reason,
        "problems": [*model.problems],
        "learning": None
        if learning is None
        else {"rows": learning.rows, "wanted": learning.wanted, "progress": round(learning.progress, 4)},
        "reference": model.reference,
        "task": model.task,
        "positive_class": model.positive_class,
        "threshold": model.threshold,
        "last_seen": _time(model.last_seen_ns),
        "predictions": model.predictions,
        "late": model.late,
        "labels": {"waiting": model.waiting, "joined": model.joined},
        "performance_reference": None
        if model.first_labels is None
        else {"labels": model.first_labels.rows, "wanted": model.first_labels.wanted},
        "without_estimate": model.without_estimate or None,
        "slow_alarms": model.slow_alarms or None,
        "cannot_fire": [{"rule": rule, "reason": reason} for rule, reason in model.unable],
        "window": None
        if window is None
        else {"end": _time(window.end_ns), "rows": window.rows, "labels": window.labels},
        "alerts": [
            {"rule": alert.rule, "severity": alert.severity, "since": _time(alert.since_ns), "series": alert.series}
            for alert in alerts
        ],
    }


def _time(time_ns: int) -> str | None:
    """Return a time in ISO 8601; None without a time, or for a time beyond the calendar.

    >>> _time(1_750_000_000_250_000_000), _time(0)
    ('2025-06-15T15:06:40+00:00', None)
    """
    try:
        return datetime.fromtimestamp(time_ns // 10**9, timezone.utc).isoformat() if time_ns else None
    except (ValueError, OverflowError, OSError):
        return None
