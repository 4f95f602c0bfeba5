from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector_processor.serving.local_socket import LocalSocket

KEY = "receivers.otlp.protocols.http"


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def left_behind(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """A socket whose process was killed."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize("mask", [0o000, 0o007, 0o022, 0o077])
@pytest.mark.parametrize("mode", [None, 0o600, 0o660, 0o666])
def test_the_mode_is_the_one_that_is_set_or_follows_the_umask(tmp_path: Path, mode: int | None, mask: int) -> None:
    path = tmp_path / "s"
    with umask(mask):
        with LocalSocket(str(path), KEY, mode).listen():
            assert mode_of(path) == (0o660 & ~mask if mode is None else mode)
        assert os.umask(mask) == mask


def test_nobody_else_may_connect_before_the_mode_is_set(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def listen() -> int:
        left_behind(path)
        return mode_of(path)

    with umask(0):
        assert LocalSocket(str(path), KEY, 0o666).bind(listen) & 0o077 == 0
    assert mode_of(path) == 0o666


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "s"
    left_behind(path, kind)
    assert not connects(path)
    with LocalSocket(str(path), KEY).listen():
        assert connects(path)


def in_use(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(0)
    return sock


def full(path: Path) -> socket.socket:
    sock = in_use(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return sock


def of_another_type(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    return sock


def regular_file(path: Path) -> None:
    path.write_text("precious")


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    left_behind(path.with_name("target"))
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (in_use, "address already in use"),
        (full, "address already in use"),
        (of_another_type, "address already in use"),
        (regular_file, "a file that is not a socket is there"),
        (folder, "it is not a socket"),
        (pipe, "it is not a socket"),
        (link, "it is not a socket"),
    ],
)
def test_what_is_in_the_way_stays_and_is_named(
    tmp_path: Path, make: Callable[[Path], socket.socket | None], reason: str
) -> None:
    path = tmp_path / "s"
    with contextlib.ExitStack() as opened:
        other = make(path)
        if other is not None:
            opened.enter_context(other)
        before = path.lstat()
        local = LocalSocket(str(path), KEY)
        with pytest.raises(OSError, match="cannot listen") as caught:
            local.listen()
        assert str(caught.value) == f"{KEY}: cannot listen on unix://{path}: {reason}"
        local.remove()
        assert path.lstat() == before


def test_without_its_folder_the_reason_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on unix:///.*: its folder does not exist"):
        LocalSocket(str(tmp_path / "none" / "s"), KEY).listen()


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot listen on unix:///.*: not a directory"):
        LocalSocket(str(tmp_path / "file" / "s"), KEY).listen()


def test_it_removes_its_own_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = LocalSocket(str(path), KEY)
    with first.listen():
        first.remove()
        assert not path.exists()
        first.remove()
    second = LocalSocket(str(path), KEY)
    with second.listen():
        path.rename(tmp_path / "moved")  # so that its inode is not used again
        with LocalSocket(str(path), KEY).listen():
            second.remove()
            assert connects(path)


def test_a_socket_that_is_about_to_listen_is_not_taken_for_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    refused: list[str] = []

    def start_another() -> None:
        try:
            LocalSocket(str(path), KEY).listen().close()
        except OSError as error:
            refused.append(str(error))

    another = threading.Thread(target=start_another)

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        another.start()
        another.join(0.2)  # it ends within that time only if it does not wait for this one
        sock.listen()
        return sock

    with LocalSocket(str(path), KEY).bind(listen):
        another.join()
        assert refused == [f"{KEY}: cannot listen on unix://{path}: address already in use"]
        assert connects(path)
