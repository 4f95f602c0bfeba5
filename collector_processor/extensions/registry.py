"""All extensions, one line each."""

from __future__ import annotations

from typing import Any, Final

from collector_processor.components import Registry
from collector_processor.extensions.bearertokenauth.component import BEARER_TOKENS
from collector_processor.extensions.component import ExtensionComponent
from collector_processor.extensions.file_storage.component import FILE_STORAGE
from collector_processor.extensions.health_check.component import HEALTH_CHECK

EXTENSIONS: Final[Registry[ExtensionComponent[Any]]] = Registry(
    ExtensionComponent, (HEALTH_CHECK, FILE_STORAGE, BEARER_TOKENS)
)
