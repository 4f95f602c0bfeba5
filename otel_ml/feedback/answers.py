"""Answers of the route: JSON, and for errors a problem document (RFC 9457) that says what is wrong, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

_SHOWN: Final = 10
"""Wrong fields that an answer lists."""
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers with names in lower case, and a body."""

    status: int
    headers: Headers
    body: bytes

    @property
    def line(self) -> str:
        """The status with its phrase, as WSGI wants it.

        >>> json_answer(202, {}).line
        '202 Accepted'
        """
        return f"{self.status} {HTTPStatus(self.status).phrase}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong in a body: where, as a JSON pointer, and what would be right."""

    pointer: str
    detail: str


class RefusedError(Exception):
    """A request that is not taken, with the status that says why."""

    def __init__(self, status: int, detail: str, wrong: Sequence[Wrong] = (), headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.wrong, self.headers = status, detail, wrong, headers

    def answer(self) -> Answer:
        """Return the problem document."""
        problem: dict[str, Any] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.wrong:
            problem["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in self.wrong[:_SHOWN]]
        return json_answer(self.status, problem, self.headers, kind="application/problem+json")


def json_answer(status: int, content: object, headers: Headers = (), kind: str = "application/json") -> Answer:
    """Return an answer with JSON."""
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Answer(status, (("content-type", kind), ("content-length", str(len(body))), *headers), body)
