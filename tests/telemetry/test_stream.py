"""Lines on their way out: rotation, disks that fail, pipes that nobody reads."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from proxy.telemetry import stream as room
from proxy.telemetry.stream import Stream


def written(stream: Stream) -> Stream:
    assert stream.flush(10)
    return stream


def test_lines_are_appended_and_folders_made(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "kuro.log"
    path.parent.mkdir()
    path.write_bytes(b"there\n")
    stream = Stream(str(path))
    stream.write(b"one\n")
    stream.write(b"two\nthree\n")
    written(stream)
    assert path.read_bytes() == b"there\none\ntwo\nthree\n"
    elsewhere = tmp_path / "new" / "folder" / "kuro.log"
    written_to = Stream(str(elsewhere))
    written_to.write(b"one\n")
    written(written_to)
    assert elsewhere.read_bytes() == b"one\n"


def test_a_message_is_not_gathered_like_calls_and_takes_them_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GATHER", 60.0)
    path = tmp_path / "kuro.log"
    stream = Stream(str(path))
    stream.write(b"call\n")
    stream.write(b"message\n", soon=True)
    deadline = time.monotonic() + 10
    while not path.exists() or path.read_bytes() != b"call\nmessage\n":
        assert time.monotonic() < deadline


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_rotated_file_is_opened_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "kuro.log"
    stream = Stream(str(path))
    stream.write(b"one\n")
    written(stream)
    if how == "renamed":
        path.rename(tmp_path / "kuro.log.1")
    else:
        path.unlink()
    stream.write(b"two\n")
    written(stream)
    assert path.read_bytes() == b"two\n"
    assert stream.lost == 0


def test_what_cannot_be_written_is_counted_and_later_lines_come_through(tmp_path: Path) -> None:
    path = tmp_path / "kuro.log"
    path.mkdir()
    stream = Stream(str(path))
    stream.write(b"one\ntwo\n")
    written(stream)
    assert stream.lost == 2
    path.rmdir()
    stream.write(b"three\n")
    written(stream)
    assert (path.read_bytes(), stream.lost) == (b"three\n", 2)


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_loses_only_what_finds_no_room(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    stream = Stream(str(path), backlog=1000)
    line = b"x" * 99 + b"\n"
    for _ in range(15):
        stream.write(line)
    assert stream.lost == 5
    assert not stream.flush(0)
    with path.open("rb") as reader:
        assert reader.read(1000) == line * 10
        written(stream)
        stream.write(b"again\n")
        assert reader.read(6) == b"again\n"
        written(stream)


class Narrow(io.RawIOBase):
    """A disk: takes `room` bytes, at most seven at a time, then fails until it is given more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.held = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        part = bytes(memoryview(data)[: min(self.room, 7)])  # type: ignore[arg-type]
        self.held += part
        self.room -= len(part)
        return len(part)


def test_a_line_that_was_cut_in_two_is_ended_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Narrow(room=10)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(disk)))
    stream = Stream("stdout")
    stream.write(b"first\nsecond\nthird\n")
    written(stream)
    assert (disk.held, stream.lost) == (b"first\nseco", 2)
    stream.write(b"lost\n")
    written(stream)
    assert stream.lost == 3
    disk.room = 100
    stream.write(b"fourth\n")
    stream.write(b"fifth\n")
    written(stream)
    assert disk.held == b"first\nseco\nfourth\nfifth\n"
    assert stream.lost == 3


def test_a_non_blocking_pipe_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = b"y" * 999_999 + b"\n"
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(writer))
        stream = Stream("stderr")
        stream.write(data)
        assert reader.read(len(data)) == data
        written(stream)
        assert stream.lost == 0
        monkeypatch.undo()


def test_a_closed_standard_stream_loses_lines_not_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.TextIOWrapper(io.BytesIO())
    gone.close()
    monkeypatch.setattr(sys, "stdout", gone)
    stream = Stream("stdout")
    stream.write(b"one\n")
    written(stream)
    assert stream.lost == 1


def test_threads_may_write_together_and_no_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "kuro.log"
    stream = Stream(str(path))

    def talk(name: str) -> None:
        for number in range(200):
            stream.write(f"{name} {number}\n".encode())

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written(stream)
    lines = path.read_text().splitlines()
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(200)]


def test_lines_of_two_writers_are_not_mixed_in_a_pipe_that_is_full(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    streams = [Stream(str(pipe)) for _ in range(2)]
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    for letter, stream in zip(b"ab", streams, strict=True):
        stream.shared = True
        stream.write((bytes([letter]) * 1499 + b"\n") * 300)
    left = 2 * 300 * 1500
    read = b""
    while len(read) < left:
        read += os.read(reading, 1000)
    os.close(reading)
    assert {line for line in read.split(b"\n") if line} == {b"a" * 1499, b"b" * 1499}
