"""What the route answers, as a function of a request; ASGI and WSGI only carry it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Final

from otel_ml.by_name import label as send_label
from otel_ml.by_name import labels as send_labels
from otel_ml.feedback.answers import Answer, RefusedError, json_answer
from otel_ml.feedback.body import Label, labels_of
from otel_ml.feedback.document import document
from otel_ml.feedback.tokens import Tokens
from otel_ml.problems import report

PATH: Final = "/feedback"
MAX_LABELS: Final = 1_000
MAX_BYTES: Final = 1024 * 1024
_DOCUMENT: Final = "/openapi.json"
_JSON: Final = "application/json"


class Route:
    """The route with its settings; see :func:`otel_ml.feedback.asgi`. No method raises."""

    def __init__(
        self,
        *,
        path: str = PATH,
        models: Collection[str] = (),
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        open_to_all: bool = False,
        max_labels: int = MAX_LABELS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError(f"path {path!r} must begin with / and not end with it, such as {PATH}")
        if isinstance(models, str):
            raise ValueError(f"models: {models!r} is one text; give a list of names")
        if max_labels < 1 or max_bytes < 1:
            raise ValueError("max_labels and max_bytes must be at least 1")
        self.path, self.max_bytes = path, max_bytes
        self._models, self._max_labels = frozenset(models), max_labels
        self._tokens = Tokens(token, token_file, os.environ, open_to_all=open_to_all)

    def takes(self, path: str) -> bool:
        """Return whether a request to a path is for this route, where other routes are beside it."""
        return path in (self.path, f"{self.path}/", self.path + _DOCUMENT)

    def refuses(self, method: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Return the answer of a request that needs no body, as far as its head shows; None to read the body.

        Names of headers are in lower case. Only the end of the path counts: where the route is mounted, frameworks
        differ in which part of the path they leave.
        """
        try:
            return self._document(method) if path.endswith(_DOCUMENT) else self._check(method, headers)
        except RefusedError as refused:
            return refused.answer()
        except Exception as error:  # noqa: BLE001 - the route must not break the application
            return self._failed(error)

    def answer(self, body: bytes) -> Answer:
        """Send the labels of a body and return the answer."""
        try:
            if len(body) > self.max_bytes:
                raise self._too_large()
            labels = labels_of(body, self._models, self._max_labels)
            _send(labels)
            return json_answer(202, {"accepted": len(labels)})
        except RefusedError as refused:
            return refused.answer()
        except Exception as error:  # noqa: BLE001 - the route must not break the application
            return self._failed(error)

    def _document(self, method: str) -> Answer:
        if method not in ("GET", "HEAD"):
            raise RefusedError(405, "allowed: GET", headers=(("allow", "GET"),))
        content = document(
            self.path,
            secured=not self._tokens.open_to_all,
            max_labels=self._max_labels,
            model_needed=len(self._models) != 1,
        )
        return json_answer(200, content)

    def _check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise :class:`RefusedError` for a head that cannot belong to labels."""
        if method != "POST":
            raise RefusedError(405, "allowed: POST", headers=(("allow", "POST"),))
        given = headers.get("authorization", "")
        if not self._tokens.admits(given):
            wrong = ', error="invalid_token"' if given else ""
            detail = "the token is wrong" if given else "the token is missing; send Authorization: Bearer …"
            raise RefusedError(401, detail, headers=(("www-authenticate", f'Bearer realm="feedback"{wrong}'),))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise RefusedError(415, f"the content type is {kind[:80]!r}; allowed: {_JSON}")
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise RefusedError(415, "the body is compressed; send it as it is")
        length = headers.get("content-length", "").strip()
        if length and not (length.isascii() and length.isdecimal()):
            raise RefusedError(400, "the content length is not a number")
        if length and (len(length) > 18 or int(length) > self.max_bytes):
            raise self._too_large()

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body is too large; allowed: at most {self.max_bytes:,} bytes")

    def _failed(self, error: Exception) -> Answer:
        report("feedback", "the feedback route failed", error=error)
        return RefusedError(500, "the route failed; its log says why").answer()


def _send(labels: list[Label]) -> None:
    """Send labels: one as a span beside its prediction's, many as one batch of each model."""
    if len(labels) == 1:
        [one] = labels
        send_label(one.model, one.prediction_id, class_=one.class_, value=one.value, time_ns=one.time_ns)
        return
    by_model: dict[str, list[Label]] = {}
    for each in labels:
        by_model.setdefault(each.model, []).append(each)
    for model, own in by_model.items():
        times = [each.time_ns for each in own]
        send_labels(
            model,
            [each.prediction_id for each in own],
            classes=[each.class_ for each in own],
            values=[each.value for each in own],
            time_ns=times if any(times) else None,
        )
