from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector_processor.storage.errors import StorageError
from collector_processor.storage.lock import DirectoryLock

HOLDER = """
import sys
from pathlib import Path
from collector_processor.storage.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_directory_is_made_for_the_owner_only(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    with (
        DirectoryLock(tmp_path),
        pytest.raises(
            StorageError, match=rf"file_storage\.directory: .*in use by another service \(process {os.getpid()}\)"
        ),
        DirectoryLock(tmp_path),
    ):
        pass


def test_another_service_on_the_directory_is_refused_until_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match=f"process {holder.pid}"):
            DirectoryLock(tmp_path).acquire()
        holder.kill()
        holder.wait()
    with DirectoryLock(tmp_path):
        pass


def test_a_released_directory_is_free(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.release()
    for _ in range(3):
        lock.acquire()
        lock.acquire()
        lock.release()
    with DirectoryLock(tmp_path):
        pass


def test_a_path_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot use .*file/state: Not a directory"):
        DirectoryLock(tmp_path / "file" / "state").acquire()
