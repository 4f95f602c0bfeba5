"""``otel-ml relearn``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from rich.console import Console

from collector_processor.cli.main import Parser
from collector_processor.cli.options import config_of, config_option
from collector_processor.config import Config
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.client_tls import ClientTls, client_context
from collector_processor.service.build import Builder
from collector_processor.service.relearn import MODEL, RELEARN_PATH, VERSION
from collector_processor.serving.listen import split_endpoint

_TIMEOUT_S: Final = 15.0
_ANYWHERE: Final = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 -- to connect to, not to listen on


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        "Ask the running service to forget the learned reference of one model, and to learn it again from the next "
        "rows. Its windows and its predictions that wait for a label are forgotten, too; those of other models stay."
    )
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument("--version", metavar="VERSION", help="one version only (default: all versions of the model)")
    config_option(parser)
    parser.add_argument(
        "--endpoint", metavar="HOST:PORT", help="address of the service's own metrics (default: as configured)"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA of the service's certificate")
    parser.set_defaults(run=_relearn)


def _relearn(options: argparse.Namespace) -> int:
    config = config_of(options)
    endpoint = options.endpoint or config.admin.endpoint
    query = {MODEL: options.model} | ({} if options.version is None else {VERSION: options.version})
    status, text = _post(
        endpoint, f"{RELEARN_PATH}?{urlencode(query)}", _authorization(config), _tls(config, options.ca_file)
    )
    if status != 200:
        raise OSError(f"{endpoint}: {text.strip() or f'the service answered {status}'}")
    versions = [str(version) for version in json.loads(text)["versions"]]
    named = ", ".join(filter(None, versions))
    which = f" (version {named})" if named else ""
    out = Console(soft_wrap=True, highlight=False)
    out.print(f"model '{options.model}'{which}: learning its reference again", style="green", markup=False)
    return 0


def _authorization(config: Config) -> Mapping[str, str]:
    """Return the header with a token, if the address of the configuration requires one."""
    if config.admin.auth is None:
        return {}
    authenticator = Builder(config, Telemetry(), "").authenticator(config.admin.auth.authenticator)
    return {"Authorization": f"{authenticator.scheme} {authenticator.tokens.current[0]}"}


def _tls(config: Config, ca_file: Path | None) -> ClientTls | None:
    return None if config.admin.tls is None and ca_file is None else ClientTls(ca_file=ca_file)


def _post(endpoint: str, path: str, headers: Mapping[str, str], tls: ClientTls | None) -> tuple[int, str]:
    """POST without a body and return the answer; ``OSError`` says which address does not answer."""
    host, port = split_endpoint(endpoint)
    host = "localhost" if host in _ANYWHERE else host
    connection = (
        HTTPConnection(host, port, timeout=_TIMEOUT_S)
        if tls is None
        else HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=client_context(tls))
    )
    try:
        connection.request("POST", path, headers={**headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        raise OSError(f"no service answers at {endpoint}: {error}; --endpoint names another address") from None
    finally:
        connection.close()
