"""A service keeps its id with its state."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from collector_processor.storage.errors import StorageError
from collector_processor.storage.instance_id import instance_id, keep_instance_id


def test_an_id_is_kept_and_others_are_new(tmp_path: Path) -> None:
    first = instance_id(tmp_path)
    assert uuid.UUID(first).version == 4
    assert instance_id(tmp_path) != first, "nothing is written before the directory is locked"
    keep_instance_id(tmp_path, first)
    assert instance_id(tmp_path) == first
    assert instance_id(None) != first
    assert instance_id(tmp_path / "absent") != first


@pytest.mark.parametrize("content", [b"", b"not an id", b"\xff\xfe", b"0" * 100])
def test_a_file_that_is_broken_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "instance_id").write_bytes(content)
    again = instance_id(tmp_path)
    keep_instance_id(tmp_path, again)
    assert instance_id(tmp_path) == again


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="instance_id"):
        keep_instance_id(tmp_path / "absent", instance_id(None))
