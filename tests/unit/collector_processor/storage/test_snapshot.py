from __future__ import annotations

import hashlib
import logging
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.own.telemetry import Telemetry
from collector_processor.storage.errors import StorageError
from collector_processor.storage.snapshot import load, save

ARRAYS = {
    "counts": np.arange(12.0).reshape(3, 4),
    "index": np.array([1, 5, 2**32 - 1], np.uint32),
    "ids": np.array([[2**64 - 1, 0]], np.uint64),
    "empty": np.zeros((0, 7)),
    "mask": np.array([True, False]),
    "scalar": np.array(3.5),
}


def failures(telemetry: Telemetry) -> float:
    return telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "storage"}) or 0.0


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def loaded(directory: Path, telemetry: Telemetry | None = None) -> int:
    """The generation of what is loaded."""
    snapshot = load(directory, "state", telemetry or Telemetry())
    assert snapshot is not None
    generation = snapshot.state["generation"]
    assert isinstance(generation, int)
    assert snapshot.state["values"].tolist() == [float(generation)] * 1000
    return generation


def write(directory: Path, generation: int) -> None:
    save(directory, "state", {"generation": generation, "values": np.full(1000, float(generation))})


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    header = {"version": 7, "models": ["a", "b"], "cursor": None, "big": 2**70, "share": 0.1, "é": True}
    save(tmp_path, "state", {"header": header, "arrays": ARRAYS})
    snapshot = load(tmp_path, "state", Telemetry())
    assert snapshot is not None
    assert snapshot.format == 2
    assert snapshot.state["header"] == header
    arrays = snapshot.state["arrays"]
    assert list(arrays) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert arrays[name].dtype == values.dtype
        assert np.array_equal(arrays[name], values)
        assert arrays[name].flags.writeable
        assert arrays[name].base is None, "it does not keep the whole file in memory"


@given(st.lists(st.floats(width=64), max_size=50))
def test_every_float_survives_bit_by_bit(values: list[float]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), "state", np.array(values))
        snapshot = load(Path(directory), "state", Telemetry())
    assert snapshot is not None
    assert snapshot.state.tobytes() == np.array(values).tobytes()


def test_foreign_byte_order_and_strides_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    save(tmp_path, "state", {"big": np.arange(5, dtype=">i8"), "every_other": np.arange(10.0)[::2]})
    snapshot = load(tmp_path, "state", Telemetry())
    assert snapshot is not None
    assert snapshot.state["big"].tolist() == [0, 1, 2, 3, 4]
    assert snapshot.state["every_other"].tolist() == [0, 2, 4, 6, 8]


def test_without_any_snapshot_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, "state", Telemetry()) is None
    assert load(tmp_path / "nowhere", "state", Telemetry()) is None


def test_the_one_before_is_kept_and_no_more(tmp_path: Path) -> None:
    for generation in (1, 2, 3):
        write(tmp_path, generation)
    assert names(tmp_path) == ["state.previous.snapshot", "state.snapshot"]
    (tmp_path / "state.snapshot").unlink()
    assert loaded(tmp_path) == 2


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert (tmp_path / "state.snapshot").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 16, 40, 100, -32, -1])
def test_a_truncated_snapshot_falls_back_to_the_one_before(
    tmp_path: Path, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    path = tmp_path / "state.snapshot"
    path.write_bytes(path.read_bytes()[:keep])
    telemetry = Telemetry()
    with caplog.at_level(logging.ERROR):
        assert loaded(tmp_path, telemetry) == 1
    assert failures(telemetry) == 1
    assert f"snapshot {path} cannot be used" in caplog.text


@pytest.mark.parametrize("place", [0, 9, 20, 60, 200, 5000, -40, -1])
def test_one_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path, place: int) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    path = tmp_path / "state.snapshot"
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert loaded(tmp_path) == 1


def test_bytes_at_the_end_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    with (tmp_path / "state.snapshot").open("ab") as file:
        file.write(b"\0")
    assert loaded(tmp_path) == 1


def test_nothing_is_loaded_when_all_are_damaged(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    telemetry = Telemetry()
    assert load(tmp_path, "state", telemetry) is None
    assert failures(telemetry) == 2


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, 1)
    assert load(tmp_path, "state", Telemetry(), limit_bytes=1000) is None
    assert "more than the limit of 1000" in caplog.text


def test_another_format_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("collector_processor.storage.snapshot.FORMAT", 3)
        write(tmp_path, 1)
    assert load(tmp_path, "state", Telemetry()) is None
    assert "it has format 03, and this version reads formats 01 and 02" in caplog.text


@pytest.mark.parametrize("name", ["", "../state", "a/b", ".hidden", "x" * 200, "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a snapshot name"):
        save(tmp_path, name, {})


@pytest.mark.parametrize("values", [np.array([object()]), np.array(["text"]), np.array([1j])])
def test_only_plain_numbers_are_saved(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an array has type"):
        save(tmp_path, "state", {"values": values})
    assert names(tmp_path) == []


def test_a_state_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be packed"):
        save(tmp_path, "state", {"when": object()})


def test_a_directory_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"extensions\.file_storage\.directory: cannot write .*No such file"):
        write(tmp_path / "nowhere", 1)


# --- files that somebody has made --------------------------------------------------------------------------
def signed(content: bytes) -> bytes:
    """A file with a checksum that is right."""
    return content + hashlib.blake2b(content, digest_size=32).digest()


def of_head(head: bytes, length: int | None = None, block: bytes = bytes(64), magic: bytes = b"OTELML02") -> bytes:
    length = len(head) if length is None else length
    return signed(magic + length.to_bytes(8, "little") + head + bytes(-len(head) % 8) + block)


OLD_HEAD = b'{"format": 1, "header": {}, "arrays": [["a", %s, %s]]}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OTELML02",
        signed(b""),
        signed(b"OTELML02"),
        signed(b"OTELML02" + bytes(7)),
        of_head(b"{}", magic=b"OTELML99"),
        of_head(b"{}", magic=b"OTELML\xff\xff"),
        of_head(b"{}", magic=b"NOTOURS2"),
        of_head(b"{}", length=2**64 - 1),
        of_head(b"{}", length=2**40),
        of_head(b"{}", length=100),
        of_head(b"{}", length=1),
        of_head(b"{"),
        of_head(b"\xff"),
        of_head(b"[" * 200_000),
        of_head(b'{"$array": ["<f8", 0, 9]}'),
        of_head(b'{"$array": ["<f8", 0, 1000000000000]}'),
        of_head(b'{"$array": ["<f8", 0, 4611686018427387904, 4611686018427387904]}'),
        of_head(b'{"$array": ["<f8", 9223372036854775800, 1]}'),
        of_head(b'{"$array": ["<f8", -8, 1]}'),
        of_head(b'{"$array": ["|O8", 0, 1]}'),
        of_head(b"{}", magic=b"OTELML01"),
        of_head(b"[]", magic=b"OTELML01"),
        of_head(b'{"format": 2, "header": {}, "arrays": []}', magic=b"OTELML01"),
        of_head(b'{"format": 1, "header": {}}', magic=b"OTELML01"),
        of_head(b'{"format": 1, "header": {}, "arrays": [[]]}', magic=b"OTELML01"),
        of_head(b'{"format": 1, "header": {}, "arrays": 7}', magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"<f8"', b"[1000000]"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"<f8"', b"[-1]"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"<f8"', b"[4294967296, 4294967296, 4294967296]"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"<f8"', b"[1.5]"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"<f8"', b"7"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b'"|O8"', b"[1]"), magic=b"OTELML01"),
        of_head(OLD_HEAD % (b"{}", b"[1]"), magic=b"OTELML01"),
        of_head(b"[" * 200_000, magic=b"OTELML01"),
    ],
)
def test_a_file_of_anything_is_passed_over_with_an_error(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    (tmp_path / "state.snapshot").write_bytes(content)
    telemetry = Telemetry()
    assert loaded(tmp_path, telemetry) == 1
    assert failures(telemetry) == 1
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("version", ["01", "02"])
@given(data=st.data())
def test_a_file_cut_or_changed_anywhere_is_passed_over(version: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.snapshot"
        if version == "01":
            path.write_bytes(of_head(OLD_HEAD % (b'"<f8"', b"[8]"), block=bytes(200), magic=b"OTELML01"))
        else:
            write(Path(directory), 1)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        telemetry = Telemetry()
        assert load(Path(directory), "state", telemetry) is None
        assert failures(telemetry) == 1


# --- other processes -----------------------------------------------------------------------------------------

WRITER = """
import sys, numpy as np
from pathlib import Path
from collector_processor.storage.snapshot import save
directory, first, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for generation in range(first, first + int(sys.argv[4])):
    save(directory, "state", {
        "generation": generation, "values": np.full(1000, float(generation)), "ballast": np.zeros(size)})
    print(generation, flush=True)
"""


def command(directory: Path, first: int, size: int, times: int) -> list[str]:
    return [sys.executable, "-c", WRITER, str(directory), str(first), str(size), str(times)]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    done = subprocess.run(
        command(tmp_path, 3, 100_000, 1),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "extensions.file_storage.directory: cannot write" in done.stderr
    assert "File too large" in done.stderr
    assert names(tmp_path) == ["state.previous.snapshot", "state.snapshot"]
    assert loaded(tmp_path) == 2


def test_a_service_killed_while_writing_leaves_a_whole_snapshot(tmp_path: Path) -> None:
    generation = 0
    for written in (1, 2, 3):
        with subprocess.Popen(command(tmp_path, generation + 1, 2_000_000, 100_000), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(written):
                generation = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        generation = int(rest[-1]) if rest else generation
        found = loaded(tmp_path)
        assert found in (generation, generation + 1), "the last that was finished, or the one just renamed"
        generation = found
    write(tmp_path, 999)
    assert names(tmp_path) == ["state.previous.snapshot", "state.snapshot"], "the draft of the dead is used up"


def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    write(tmp_path, 1)
    tmp_path.chmod(0o500)
    reader = """
import os, sys
from pathlib import Path
from collector_processor.storage.snapshot import load, save
from collector_processor.own.telemetry import Telemetry
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
for work in (lambda: save(Path(sys.argv[1]), "state", {}), lambda: load(Path(sys.argv[1]), "state", Telemetry())):
    try:
        work()
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", reader, str(tmp_path)], capture_output=True, text=True, check=True)
    tmp_path.chmod(0o700)
    assert (
        f"extensions.file_storage.directory: cannot write {tmp_path}/state.snapshot: Permission denied" in done.stdout
    )
