"""Keeps the state across restarts in a folder."""

from __future__ import annotations

from typing import Final

from collector_processor.extensions.component import ExtensionComponent, ExtensionContext, Storage
from collector_processor.extensions.file_storage.settings import FileStorageSettings

_S = 1e9


def _storage(settings: FileStorageSettings, _: ExtensionContext) -> Storage:
    return Storage(settings.directory, settings.interval / _S)


FILE_STORAGE: Final = ExtensionComponent("file_storage", FileStorageSettings, storage=_storage)
