"""Finds what the registry calls a model that MLflow loads: from the download, or from the file that it leaves."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlparse

from otel_ml.frameworks.names import Name, register_model

_META: Final = "registered_model_meta"
"""MLflow writes the name and version of a registered model into this file, beside what it downloads."""


class Load:
    """One call of ``load_model``."""

    def __init__(self, uri: Any) -> None:
        self.path = _folder(str(uri))
        self.name = Name("")

    @staticmethod
    def downloaded(repository: Any, path: Any) -> None:
        """Note what was downloaded for the load that is open here."""
        load = _current.get()
        if load is not None:
            load.path = Path(str(path))
            load.name = _named(getattr(repository, "model_name", None), getattr(repository, "model_version", None))

    def register(self, model: Any) -> None:
        """Register the name and the columns of what was loaded, a pyfunc with the model inside it."""
        name = self.name if self.name.name else self._read_name()
        metadata = getattr(model, "metadata", None) if hasattr(model, "_model_impl") else self._read_metadata()
        features = columns_of(getattr(metadata, "signature", None))
        register_model(model, name, features=features)
        inner = model_inside(model)
        if inner is not None:
            register_model(inner, name, features=features, outer=model)

    def _read_name(self) -> Name:
        file = None if self.path is None else self.path / _META
        if file is None or not file.is_file():
            return Name("")
        written = sys.modules["yaml"].safe_load(file.read_text(encoding="utf-8"))
        return _named(written.get("model_name"), written.get("model_version"))

    def _read_metadata(self) -> Any:
        if self.path is None or not (self.path / "MLmodel").is_file():
            return None
        return sys.modules["mlflow.models"].Model.load(str(self.path))


_current: ContextVar[Load | None] = ContextVar("otel_ml_mlflow_load", default=None)


@contextmanager
def loaded_under(load: Load) -> Generator[None]:
    """Let downloads in the block belong to this load; a model may load others."""
    token = _current.set(load)
    try:
        yield
    finally:
        _current.reset(token)


def model_inside(pyfunc: Any) -> Any:
    """Return the library's own model in a pyfunc; None if this is not one.

    >>> class Wrapper:
    ...     def get_raw_model(self):
    ...         return "booster"
    >>> class Pyfunc:
    ...     _model_impl = Wrapper()
    >>> model_inside(Pyfunc()), model_inside("booster") is None
    ('booster', True)
    """
    inside = getattr(pyfunc, "_model_impl", None)
    unwrap = getattr(inside, "get_raw_model", None)
    return inside if unwrap is None else unwrap()


def columns_of(signature: Any) -> tuple[str, ...]:
    """Return the names of a signature's columns; none for tensors and unnamed columns."""
    inputs = getattr(signature, "inputs", None)
    if inputs is None or inputs.is_tensor_spec() or not inputs.has_input_names():
        return ()
    return tuple(map(str, inputs.input_names()))


def _folder(uri: str) -> Path | None:
    """Return the folder that a URI names, None if it is not a local path.

    >>> _folder("models:/churn@champion"), _folder("file:///srv/a%20b").as_posix(), _folder("/srv/model").as_posix()
    (None, '/srv/a b', '/srv/model')
    """
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(uri) if not parsed.scheme else None


def _named(name: Any, version: Any) -> Name:
    return Name(str(name), "" if version is None else str(version)) if name else Name("")
