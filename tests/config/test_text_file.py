"""Text files of the user: what is read of them, and what is refused."""

from __future__ import annotations

import codecs
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from cimsim.errors import CimsimError, SimulationError
from cimsim.text_file import read_text_file, write_whole


def refusal(path: Path, most_bytes: int = 100) -> str:
    with pytest.raises(CimsimError) as caught:
        read_text_file(path, "text file", key="--text", most_bytes=most_bytes)
    assert caught.value.key == "--text"
    return caught.value.sentence()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\nb", "a\nb"),
        (codecs.BOM_UTF8 + b"a\nb", "a\nb"),
        (codecs.BOM_UTF8 + b"a\r\nb\rc", "a\nb\nc"),
        (codecs.BOM_UTF8, ""),
        # Only the first is a mark: further on it is a character of the text.
        (codecs.BOM_UTF8 + b"a" + codecs.BOM_UTF8, "a\ufeff"),
        ("µ".encode(), "µ"),
    ],
)
def test_text_has_no_byte_order_mark_and_line_feeds(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(data)
    assert read_text_file(tmp_path / "t", "text file") == text


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"words",))
    writer.start()
    assert read_text_file(tmp_path / "pipe", "text file", pipe=True) == "words"
    writer.join()


def test_a_pipe_that_nobody_writes_into_is_refused_and_a_slow_writer_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("cimsim.text_file.WRITER_S", 0.2)
    with pytest.raises(CimsimError, match="nobody writes into this pipe"):
        read_text_file(tmp_path / "pipe", "text file", pipe=True)

    def write_slowly() -> None:
        with (tmp_path / "pipe").open("wb") as file:
            time.sleep(0.5)
            file.write(b"x" * 101)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert len(read_text_file(tmp_path / "pipe", "text file", pipe=True)) == 101
    writer.join()
    writer = threading.Thread(target=write_slowly)
    writer.start()
    with pytest.raises(CimsimError, match="too large"):
        read_text_file(tmp_path / "pipe", "text file", most_bytes=100, pipe=True)
    writer.join()


def test_a_pipe_that_nobody_named_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device, not a text file" in refusal(tmp_path / "pipe")


def test_what_is_no_text_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t"
    assert "text file not found" in refusal(path)
    assert "is a folder, not a text file" in refusal(tmp_path)
    path.write_bytes(b"fine\n\xe9t\xe9")
    assert f"{path}:2: --text: text file is not UTF-8" in refusal(path)
    for encoding in ("utf-16-le", "utf-16-be"):
        path.write_bytes("\ufeffwords".encode(encoding))
        assert "it begins as UTF-16 does" in refusal(path)
    path.write_bytes(b"x" * 101)
    assert "text file is too large" in refusal(path)
    path.write_bytes(b"x" * 100)
    assert len(read_text_file(path, "text file", most_bytes=100)) == 100


def test_a_device_or_a_pipe_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CimsimError, match="cannot be written"):
        write_whole(pipe, b"nobody reads")
    data, read = bytes(200_000), bytearray()
    opened = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(opened, True)
    with os.fdopen(opened, "rb") as end:
        writer = threading.Thread(target=write_whole, args=(pipe, data))
        writer.start()
        while len(read) < len(data):
            read += end.read1()  # nothing, until the writer has opened the pipe
        writer.join()
    assert bytes(read) == data
    assert pipe.is_fifo()


def test_a_device_of_the_system_stays_one(tmp_path: Path) -> None:
    # Its own node in a folder of ours: a mistake here would take the machine's.
    full = tmp_path / "full"
    try:
        os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    except OSError:
        pytest.skip("this user may make no device")
    with pytest.raises(SimulationError, match="No space left"):
        write_whole(full, b"x")
    assert full.is_char_device()
    assert list(tmp_path.iterdir()) == [full]


def test_a_file_of_the_shell_behind_dev_fd_is_written_at_its_end(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_bytes(b"before\n")
    with target.open("ab") as file:
        number = file.fileno()
        write_whole(Path(f"/proc/self/fd/{number}"), b"after\n")
    assert target.read_bytes() == b"before\nafter\n"
    assert list(tmp_path.iterdir()) == [target]
