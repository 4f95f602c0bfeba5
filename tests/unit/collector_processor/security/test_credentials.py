"""Secrets in files: read again when they change, kept when they cannot be read, never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector_processor.security.credentials import Tokens, Watched, is_token, read_tokens

OLD_S = 1_700_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("one\n")
    return file


def test_a_file_has_changed_once_after_each_new_content(file: Path) -> None:
    watched = Watched([file])
    assert not watched.changed()
    file.write_text("two\n")
    assert watched.changed()
    assert not watched.changed()


def test_a_content_of_the_same_length_at_the_same_time_is_seen(file: Path) -> None:
    watched = Watched([file])
    assert not watched.changed()
    times = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert watched.changed()


def test_the_same_content_written_again_is_no_change(file: Path) -> None:
    os.utime(file, (OLD_S, OLD_S))
    watched = Watched([file])
    file.write_text("one\n")
    assert not watched.changed()


def test_a_link_that_leads_to_another_file_is_a_change(tmp_path: Path) -> None:
    # As Kubernetes replaces the files of a secret.
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    link = tmp_path / "now"
    link.symlink_to("first")
    watched = Watched([link / "token"])
    fresh = tmp_path / "next"
    fresh.symlink_to("second")
    fresh.rename(link)
    assert watched.changed()


def test_a_file_that_is_gone_for_a_while_has_not_changed(file: Path) -> None:
    watched = Watched([file])
    file.unlink()
    assert not watched.changed()
    file.write_text("one\n")
    assert not watched.changed()
    file.write_text("two\n")
    assert watched.changed()


def test_files_are_not_looked_at_before_the_interval_is_over(file: Path) -> None:
    watched = Watched([file], interval_s=3600)
    file.write_text("two\n")
    assert not watched.changed()


def test_tokens_of_a_file_are_one_a_line(file: Path) -> None:
    file.write_text("\n  one \r\n\ntwo\n")
    assert Tokens("k", file=file).current == ("one", "two")


def test_tokens_are_the_same_object_until_they_change(file: Path) -> None:
    tokens = Tokens("k", file=file)
    assert tokens.current is tokens.current
    file.write_text("two\n")
    assert tokens.current == ("two",)


@pytest.mark.parametrize(
    "broken", ["", "\n \n", "two words\n", "é\n", "x" * 4097, "\n".join("abc" for _ in range(101))]
)
def test_a_broken_file_leaves_the_tokens_from_before(file: Path, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    tokens = Tokens("extensions.bearertokenauth", file=file)
    file.write_text(broken, encoding="utf-8")
    assert tokens.current == ("one",)
    assert "the previous tokens stay valid" in caplog.text
    assert "one" not in caplog.text.replace("one a line", "")
    file.write_text("three")
    assert tokens.current == ("three",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "contains no token; put each token on its own line"),
        (b"fine\nse cret\n", "line 2: not a valid token; write 1 to 4096 visible ASCII characters without spaces"),
        (b"s\xffcret", "line 1: not a valid token"),
        (b"s\x00cret", "line 1: not a valid token"),
        (b"t\n" * 101, "contains 101 tokens; allowed: at most 100"),
        (b"t\n" * 2**20, "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_holds_no_tokens_stops_the_start_and_is_not_shown(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"token") as refused:
        Tokens("extensions.bearertokenauth", file=file)
    assert said in str(refused.value)
    assert "cret" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^extensions\.b: cannot read .*absent: No such file"):
        read_tokens(tmp_path / "absent", "extensions.b")


def test_no_token_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no token is configured"):
        Tokens("extensions.b")


@pytest.mark.parametrize("text", ["", " ", "a b", "a\tb", "a\r\nx: y", "\x7f", "ü", "x" * 4097])
def test_what_does_not_fit_a_header_is_no_token(text: str) -> None:
    assert not is_token(text)
