"""Bearer tokens of the route: given, or the current lines of a file."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from otel_ml.config import ENV_FEEDBACK_TOKEN, ENV_FEEDBACK_TOKEN_FILE
from otel_ml.problems import report

_NEEDED: Final = (
    f"the feedback route needs a token: pass token= or token_file=, or set {ENV_FEEDBACK_TOKEN} or "
    f"{ENV_FEEDBACK_TOKEN_FILE}; open_to_all=True takes labels from everyone who reaches it"
)


class Tokens:
    """Decides whether a request has one of the tokens; a file with several lines has several, so that one can change.

    A file is read again when it has changed. While it cannot be read, or is empty, the tokens before stay valid.
    """

    def __init__(
        self,
        token: str | None,
        token_file: str | os.PathLike[str] | None,
        environ: Mapping[str, str],
        *,
        open_to_all: bool,
    ) -> None:
        if token is None and token_file is None and not open_to_all:
            token, token_file = environ.get(ENV_FEEDBACK_TOKEN) or None, environ.get(ENV_FEEDBACK_TOKEN_FILE) or None
        if (token is not None) + (token_file is not None) + open_to_all != 1:
            raise ValueError(_NEEDED if token is token_file else "give one of token, token_file and open_to_all")
        if token is not None and not token.strip():
            raise ValueError("the token of the feedback route is empty")
        self.open_to_all = open_to_all
        self._file = None if token_file is None else Path(token_file)
        self._seen: object = None
        self._hashes = [] if token is None else [_hash(token.strip().encode())]
        if self._file is not None:
            self._read(self._file)
            if not self._hashes:
                raise ValueError(f"{self._file}: has no token; write one a line")

    def admits(self, authorization: str) -> bool:
        """Return whether the value of an ``Authorization`` header has a token, in a time that does not show which."""
        if self.open_to_all:
            return True
        if self._file is not None:
            try:
                self._read(self._file)
            except OSError as error:
                report("feedback tokens", "the file of the tokens cannot be read; those before stay valid", error=error)
        scheme, _, token = authorization.strip().partition(" ")
        given = _hash(token.strip().encode("latin-1", "replace"))
        matches = [hmac.compare_digest(given, known) for known in self._hashes]
        return any(matches) and scheme.lower() == "bearer"

    def _read(self, file: Path) -> None:
        state = file.stat()
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen != self._seen:
            lines = file.read_bytes().splitlines()
            self._hashes = [_hash(line.strip()) for line in lines if line.strip()] or self._hashes
            self._seen = seen


def _hash(token: bytes) -> bytes:
    return sha256(token).digest()
