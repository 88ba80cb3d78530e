"""The thread that writes: in order, never waiting for a reader, and with a frame that is always at the bottom."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading

from muxpy_cli.view import BackgroundWriter
from muxpy_cli.view._writer import MAX_WAITING

from .view_helpers import Screen


def _collect(reader: int) -> tuple[threading.Thread, list[bytes]]:
    """Read until the end, in a thread."""
    chunks: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reader, 65536):
            chunks.append(chunk)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, chunks


def test_lines_come_in_order_and_what_does_not_fit_is_counted() -> None:
    reader, writer = os.pipe()
    count = 10 * MAX_WAITING
    lines = BackgroundWriter(writer, "utf-8")
    for number in range(count):
        lines.put(f"{number:<99}\n")  # more than a pipe holds
    thread, chunks = _collect(reader)
    lines.flush(30)
    lines.close()
    os.close(writer)
    thread.join(30)
    os.close(reader)
    received = b"".join(chunks).decode().splitlines()
    numbers = [int(line) for line in received if "dropped" not in line]
    dropped = [int(line.split()[0][1:].replace(",", "")) for line in received if "lines were dropped" in line]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert dropped
    assert len(numbers) + sum(dropped) == count


def test_a_reader_that_never_reads_is_not_waited_for_at_the_end() -> None:
    reader, writer = os.pipe()
    lines = BackgroundWriter(writer, "utf-8")
    for _ in range(MAX_WAITING):
        lines.put("x" * 1000 + "\n")
    lines.close()
    assert lines._thread.is_alive()  # it was given up
    os.close(reader)  # which ends the thread
    lines._thread.join(5)
    assert not lines._thread.is_alive()
    os.close(writer)


def test_a_reader_that_has_gone_ends_the_writing_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = BackgroundWriter(writer, "utf-8")
    for _ in range(3):
        lines.put("x\n")
        lines.show(["frame"])
    lines.flush(30)
    lines.close()
    assert not lines._thread.is_alive()
    assert not lines.stuck
    os.close(writer)


def test_a_frame_stays_below_the_lines_and_is_there_once() -> None:
    reader, writer = os.pipe()
    lines = BackgroundWriter(writer, "utf-8")
    screen = Screen(40)

    def shown() -> str:
        lines.flush(30)
        screen.feed(os.read(reader, 65536))
        assert screen.cursor
        return screen.text

    lines.put("first\n")
    assert shown() == "first\n"
    lines.show(["frame 1", "of two rows"])
    assert shown() == "first\nframe 1\nof two rows\n"
    lines.put("second\n")
    assert shown() == "first\nsecond\nframe 1\nof two rows\n"
    lines.put("a line that is broken because it is longer than a row\n")
    assert shown().endswith("second\na line that is broken because it is long\ner than a row\nframe 1\nof two rows\n")
    lines.show(["3"])
    assert shown().endswith("er than a row\n3\n")
    lines.show([])
    assert shown().endswith("er than a row\n")
    lines.show(["left over"])
    assert shown().endswith("er than a row\nleft over\n")
    lines.close()
    screen.feed(os.read(reader, 65536))
    assert screen.text.endswith("er than a row\n")
    os.close(reader)
    os.close(writer)


def test_frames_that_cannot_be_written_are_dropped_and_the_last_one_is_drawn() -> None:
    reader, writer = os.pipe()
    lines = BackgroundWriter(writer, "utf-8")
    lines.put("x" * 200_000 + "\n")  # more than the pipe holds: the thread is stuck
    for number in range(1000):
        lines.show([f"frame {number}"])
    assert lines.stuck
    thread, chunks = _collect(reader)
    lines.flush(30)
    assert not lines.stuck
    lines.close()
    os.close(writer)
    thread.join(30)
    output = b"".join(chunks).decode()
    assert output.count("frame ") <= 2  # the one that may have been taken before, and the last
    assert "frame 999" in output
    os.close(reader)


def test_a_frame_in_a_terminal_of_another_size_is_drawn_on_an_empty_screen() -> None:
    leader, terminal = os.openpty()
    lines = BackgroundWriter(os.open(os.devnull, os.O_WRONLY), "utf-8")
    lines.close()
    lines._descriptor = terminal
    drawn = []
    for rows, columns in ((24, 80), (24, 80), (24, 40), (24, 40), (10, 40)):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        drawn.append(lines._compose("", ("x" * 30, "y")))
    anew = ["\x1b[H\x1b[J" in text for text in drawn]
    assert anew == [False, False, True, False, True]
    assert ["\x1b[2A" in text for text in drawn] == [False, True, False, True, False]
    os.close(leader)
    os.close(terminal)
