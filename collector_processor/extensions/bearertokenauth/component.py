"""Bearer tokens, which receivers require and exporters send."""

from __future__ import annotations

from typing import Final

from collector_processor.extensions.bearertokenauth.settings import BearerTokenSettings
from collector_processor.extensions.component import ExtensionComponent, ExtensionContext
from collector_processor.security.authentication import Authenticator


def _authenticator(settings: BearerTokenSettings, context: ExtensionContext) -> Authenticator:
    return Authenticator(settings.read(context.key), settings.scheme)


BEARER_TOKENS: Final = ExtensionComponent("bearertokenauth", BearerTokenSettings, authenticator=_authenticator)
