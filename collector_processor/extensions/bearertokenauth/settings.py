"""Settings of bearer tokens."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, SecretStr, model_validator

from collector_processor.security.credentials import WHAT_FITS, Tokens, is_token
from collector_processor.settings.base import Settings
from collector_processor.settings.values import SecretPath


class BearerTokenSettings(Settings):
    """Bearer tokens: a receiver accepts any of them, an exporter sends the first one."""

    scheme: str = Field(default="Bearer", pattern=r"^[A-Za-z][A-Za-z0-9._~+-]*$", description="word before the token")
    token: SecretStr | None = Field(default=None, description="a token; never printed")
    tokens: tuple[SecretStr, ...] = Field(default=(), max_length=100, description="several tokens; never printed")
    filename: SecretPath | None = Field(
        default=None, description="file with one token per line; reloaded when it changes"
    )

    @property
    def fixed(self) -> tuple[str, ...]:
        """The tokens in the configuration itself."""
        return tuple(item.get_secret_value() for item in (*((self.token,) if self.token else ()), *self.tokens))

    @model_validator(mode="after")
    def _some(self) -> BearerTokenSettings:
        given = [name for name in ("token", "tokens", "filename") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"set exactly one of token, tokens, filename; set now: {', '.join(given) or 'none of them'}"
            )
        if not all(map(is_token, self.fixed)):
            raise ValueError(f"{given[0]}: not a valid token; write {WHAT_FITS}")
        return self

    def read(self, key: str) -> Tokens:
        """Return the tokens; ``OSError`` and ``ValueError`` say what is wrong with their file."""
        return Tokens(key, self.fixed, self.filename)

    def problems(self, key: str) -> Iterator[str]:
        """Return the reason why the file of tokens cannot be used, if there is one."""
        try:
            self.read(key)
        except (OSError, ValueError) as error:
            yield str(error)
