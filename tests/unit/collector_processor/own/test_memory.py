"""Where the default of the memory limit comes from, on made-up file systems."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from collector_processor.own.memory import MemoryLimit, default_limit_bytes, keep_freed

GIB = 2**30
NONE_V1 = "9223372036854771712\n"


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"}, 0.8 * GIB),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0.8 * 8 * GIB),
        (
            {
                "proc/self/cgroup": "0::/pod/container\n",
                "sys/fs/cgroup/pod/container/memory.max": "max\n",
                "sys/fs/cgroup/pod/memory.max": f"{2 * GIB}\n",
            },
            1.6 * GIB,
        ),
        ({"proc/self/cgroup": "0::/../../elsewhere\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"}, 0.8 * GIB),
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:hugetlb,memory:/docker/0123\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            },
            0.8 * GIB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/0123\n",
                "sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes": NONE_V1,
            },
            0.8 * 8 * GIB,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{100 * GIB}\n"}, 0.8 * 8 * GIB),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "lots\n"}, 0.8 * 8 * GIB),
        ({}, 0.8 * 8 * GIB),
    ],
)
def test_it_is_four_fifths_of_the_tightest_limit(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    root = system(tmp_path, {"proc/meminfo": f"MemTotal:  {8 * 2**20} kB\nMemFree: 1 kB\n", **files})

    assert default_limit_bytes(root) == int(expected)


def test_there_is_none_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert default_limit_bytes(tmp_path) is None


def test_this_machine_has_one() -> None:
    limit = default_limit_bytes()

    assert limit is None or limit > 2**20


def test_it_opens_again_when_memory_falls() -> None:
    resident = [200, 200, 50]
    limit = MemoryLimit(100, resident=lambda: resident.pop(0), release=lambda: None, interval_s=0.0)

    assert [limit.exceeded(), limit.exceeded()] == [True, False]


def test_freed_memory_is_kept_where_the_allocator_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    assert keep_freed(GIB) == (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"))


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_settings_of_the_environment_for_the_allocator_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed()
