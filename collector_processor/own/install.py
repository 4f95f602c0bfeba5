"""The command that installs an extra of this package, in the way in which the package itself was installed."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_NAME: Final = "otel-ml"


def install(extra: str, *options: str) -> str:
    """Return the pip command for an extra; an empty ``extra`` is the package itself.

    ``otel-ml[extra]`` would be looked up in a package index, which may not have this package: a clone is named by its
    folder instead, and a wheel by its address.
    """
    return _command(_source(), extra, options)


def _command(source: dict[str, Any], extra: str, options: tuple[str, ...]) -> str:
    """Return the command for an installation that pip describes so (PEP 610).

    >>> _command({}, "demo", ())
    "pip install 'otel-ml[demo]'"
    >>> _command({"url": "file:///home/me/otel-ml", "dir_info": {"editable": True}}, "demo", ())
    "pip install -e '/home/me/otel-ml[demo]'"
    >>> _command({"url": "https://example.org/otel_ml.whl", "archive_info": {}}, "", ("--quiet",))
    "pip install --quiet 'otel-ml @ https://example.org/otel_ml.whl'"
    """
    bracket = f"[{extra}]" if extra else ""
    url = str(source.get("url", ""))
    if url.startswith("file:") and "dir_info" in source:
        editable = ["-e"] if source["dir_info"].get("editable") else []
        return shlex.join(["pip", "install", *options, *editable, unquote(urlsplit(url).path) + bracket])
    commit = source.get("vcs_info")
    if commit:
        url = f"{commit['vcs']}+{url}@{commit['commit_id']}"
    return shlex.join(["pip", "install", *options, f"{_NAME}{bracket}{f' @ {url}' if url else ''}"])


def _source() -> dict[str, Any]:
    """Return what pip noted about where the package came from; nothing if it came from an index."""
    try:
        noted: object = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
