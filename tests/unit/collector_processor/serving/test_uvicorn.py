"""uvicorn's protocol class is extended beyond its documented interface; here is what that rests on."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

_OVERRIDDEN = (
    "connection_made", "connection_lost", "data_received", "on_message_begin", "on_header", "on_headers_complete",
    "on_body", "on_response_complete", "timeout_keep_alive_handler",
)  # fmt: skip
_CALLED = ("send_400_response", "shutdown")
_ATTRIBUTES = (
    "parser", "transport", "flow", "cycle", "pipeline", "connections", "loop", "access_log", "timeout_keep_alive"
)  # fmt: skip
_OF_THE_STATE = ("connections", "tasks", "default_headers")
_OF_A_CYCLE = ("scope", "disconnected", "waiting_for_100_continue", "body", "more_body", "response_complete")


PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"


def _requirement() -> Requirement:
    [line] = re.findall(r'^ *"(uvicorn[^"]*)"', PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    return Requirement(line)


def test_the_installed_uvicorn_is_one_that_was_tested() -> None:
    requirement = _requirement()
    assert any(bound.operator == "<" for bound in requirement.specifier), (
        "pyproject.toml gives uvicorn no upper bound: serving/http_protocol.py extends its private parts"
    )
    assert requirement.specifier.contains(uvicorn.__version__), (
        f"uvicorn {uvicorn.__version__} has not been tested with serving/http_protocol.py: run "
        "tests/integration/receivers and tests/unit/collector_processor/serving with it, then raise the bound in "
        "pyproject.toml"
    )


def test_what_is_extended_in_uvicorn_is_there() -> None:
    async def look() -> list[str]:
        async def app(scope: object, receive: object, send: object) -> None: ...

        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        protocol = HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())
        cycle = RequestResponseCycle.__init__.__code__.co_names
        return [
            *(f"HttpToolsProtocol.{name}" for name in (*_OVERRIDDEN, *_CALLED) if not hasattr(HttpToolsProtocol, name)),
            *(f"HttpToolsProtocol().{name}" for name in _ATTRIBUTES if not hasattr(protocol, name)),
            *(f"RequestResponseCycle().{name}" for name in _OF_A_CYCLE if name not in cycle),
            *(
                f"ServerState().{name}"
                for name in ("connections", "tasks", "default_headers")
                if not hasattr(state, name)
            ),
            *(["Config().encoded_headers"] if not hasattr(config, "encoded_headers") else []),
        ]

    gone = asyncio.run(look())
    assert not gone, f"uvicorn {uvicorn.__version__} has no {', '.join(gone)}, which serving/http_protocol.py needs"
