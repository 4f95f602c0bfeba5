"""``POST /relearn?model=NAME``: forget the learned reference of one model, and learn it again from the next rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.serving.routes import JSON, Handler, HttpAnswer, HttpRequest

RELEARN_PATH: Final = "/relearn"
MODEL: Final = "model"
VERSION: Final = "version"
"""Parameters of the query; without a version, all versions of the model learn again."""
_TIMEOUT_S: Final = 10.0
T = TypeVar("T")


class Ask(Protocol):
    """:meth:`.StatisticsThread.ask`."""

    def __call__(self, question: Callable[[Pipeline], T], timeout_s: float) -> T:
        """Return what the question returns for the pipeline."""
        ...


def relearn_handler(ask: Ask) -> Handler:
    """Return the handler; its answer lists the versions that learn again."""

    def answer(request: HttpRequest) -> HttpAnswer:
        names, versions = request.query.get(MODEL, ()), request.query.get(VERSION, ())
        if len(names) != 1 or not names[0] or len(versions) > 1:
            return _refused(400, f"name one model: {RELEARN_PATH}?{MODEL}=NAME, or with &{VERSION}=VERSION")
        name, version = names[0], versions[0] if versions else None
        try:
            keys = ask(partial(Pipeline.relearn, name=name, version=version), _TIMEOUT_S)
        except KeyError:
            which = f"model '{name}'" if version is None else f"version '{version}' of model '{name}'"
            return _refused(404, f"no {which}; /status lists all")
        except ValueError as error:
            return _refused(409, str(error))
        except TimeoutError as error:
            return _refused(503, str(error))
        body = {"model": name, "versions": [key.version for key in keys]}
        return HttpAnswer(json.dumps(body).encode(), JSON)

    return answer


def _refused(status: int, text: str) -> HttpAnswer:
    return HttpAnswer(f"{text}\n".encode(), status=status)
