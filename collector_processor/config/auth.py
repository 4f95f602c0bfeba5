"""Checks of TLS and authenticators that reach over several components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from collector_processor.extensions.bearertokenauth.settings import BearerTokenAuth
from collector_processor.security.authentication import Authentication
from collector_processor.security.client_tls import ClientTls
from collector_processor.security.server_tls import ServerTls

EXTENSION = "bearertokenauth"
_ONLY_HTTP = "gRPC's library has no such switch; it speaks TLS 1.2 and 1.3 and always verifies"


def auth_problems(
    receivers: Mapping[str, BaseModel],
    exporters: Mapping[str, BaseModel],
    extensions: Mapping[str, BaseModel],
    enabled: Sequence[str],
    grpc_exporters: Sequence[str],
) -> Iterator[str]:
    """What is wrong with TLS and authenticators across components; ``grpc_exporters`` are those that speak gRPC."""
    tokens = [name for name, settings in extensions.items() if isinstance(settings, BearerTokenAuth)]
    for path, auth in _referred(receivers, exporters):
        if auth.authenticator not in tokens:
            choices = ", ".join(tokens) or f"none; configure extensions.{EXTENSION}"
            yield f"{path}.auth.authenticator: no {EXTENSION} {auth.authenticator!r}; there is: {choices}"
        elif auth.authenticator not in enabled:
            yield f"{path}.auth.authenticator: {auth.authenticator!r} is not in service.extensions"
    for name, settings in receivers.items():
        tls = getattr(getattr(getattr(settings, "protocols", None), "grpc", None), "tls", None)
        if isinstance(tls, ServerTls) and tls.min_version != "1.2":
            yield f"receivers.{name}.protocols.grpc.tls.min_version: {_ONLY_HTTP}"
    for name in grpc_exporters:
        if "@" in getattr(exporters[name], "endpoint", ""):
            yield f"exporters.{name}.endpoint: gRPC takes no user name in an address; use headers or auth"
        tls = getattr(exporters[name], "tls", None)
        if isinstance(tls, ClientTls) and tls.min_version != "1.2":
            yield f"exporters.{name}.tls.min_version: {_ONLY_HTTP}"
        if isinstance(tls, ClientTls) and tls.insecure_skip_verify:
            yield f"exporters.{name}.tls.insecure_skip_verify: {_ONLY_HTTP}; give ca_file or server_name_override"


def _referred(
    receivers: Mapping[str, BaseModel], exporters: Mapping[str, BaseModel]
) -> Iterator[tuple[str, Authentication]]:
    """Every ``auth`` and where it stands."""
    for name, settings in receivers.items():
        for protocol in ("grpc", "http"):
            auth = getattr(getattr(getattr(settings, "protocols", None), protocol, None), "auth", None)
            if isinstance(auth, Authentication):
                yield f"receivers.{name}.protocols.{protocol}", auth
    for name, settings in exporters.items():
        auth = getattr(settings, "auth", None)
        if isinstance(auth, Authentication):
            yield f"exporters.{name}", auth
