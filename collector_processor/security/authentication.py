"""Who may send, or as whom to send."""

from __future__ import annotations

from pydantic import Field

from collector_processor.settings.base import Settings


class Authentication(Settings):
    """Who may send, or as whom to send."""

    authenticator: str = Field(description="id of a `bearertokenauth` extension, such as `bearertokenauth/apps`")
