"""How far a command is: lines in a log, a bar on a terminal."""

import sys

import pytest

from soundclip_hf.cli import output


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(output.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_log_gets_a_line_a_minute(clock, capsys):
    """10 s a row: the first line after 6 of 20 rows, with 14 * 10 s left."""
    for _ in output.with_progress(iter(range(20)), 20, "describing"):
        clock.now += 10
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "describing: 6 of 20, 6.0/min, 0:02:20 left"
    assert [line.split(":")[1].split(",")[0] for line in lines] == [" 6 of 20", " 12 of 20", " 18 of 20"]


def test_what_was_done_before_does_not_count_for_the_rate(clock, capsys):
    with output.progress("training", 1000, done=900) as advance:
        clock.now += 100
        advance(50)
    assert capsys.readouterr().err == "training: 950 of 1000, 30.0/min, 0:01:40 left\n"


def test_an_unknown_number_and_slow_steps(clock, capsys):
    with output.progress("embedding", None) as advance:
        clock.now += 7200
        advance(1)
    assert capsys.readouterr().err == "embedding: 1, 0.5/h\n"


def test_short_runs_say_nothing(clock, capsys):
    assert list(output.with_progress(iter("ab"), 2, "hashing")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_number_rate_and_time(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    for _ in output.with_progress(iter(range(4)), 4, "indexing"):
        clock.now += 2
    shown = capsys.readouterr().err
    for words in ("indexing", "4/4", "30.0/min", "left"):
        assert words in shown
