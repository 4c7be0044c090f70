"""Progress: a bar on a terminal, a line every half minute elsewhere, nothing when quiet."""

import io

from sycophancy_core.runs.progress import LINE_SECONDS, ProgressPrinter, note, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def shown(stream: io.StringIO, *, quiet: bool = False) -> str:
    with ProgressPrinter(stream=stream, quiet=quiet).stage("score") as progress:
        progress(5, 10)
        progress(10, 10)
    return stream.getvalue()


def test_a_line_holds_share_count_time_left_and_rate() -> None:
    assert progress_line("score", 500, 2000, 10.0) == "score: 25% 500/2000 [00:10<00:30, 50.00it/s]"
    assert progress_line("fine-tune", 500, 2000, 7200.0) == "fine-tune: 25% 500/2000 [2:00:00<6:00:00, 14.40s/it]"


def test_a_log_file_gets_a_line_every_half_minute_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressPrinter(stream=stream, clock=clock).stage("fine-tune") as progress:
        for step in range(1, 101):
            clock.seconds += 1.0
            progress(step, 100)
    lines = stream.getvalue().splitlines()
    assert LINE_SECONDS == 30
    assert lines[:-1] == [progress_line("fine-tune", step, 100, float(step)) for step in (30, 60, 90)]
    assert lines[-1].split() == ["fine-tune", "100/100", "100.0", "s"]


def test_a_short_stage_is_one_line_of_a_log_file() -> None:
    text = shown(io.StringIO())
    assert text.count("\n") == 1
    assert "10/10" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_terminal_shows_a_bar_whose_last_state_stays() -> None:
    text = shown(Terminal())
    assert text.split("\r")[-1].startswith("score: 100%|##########| 10/10 [")
    assert text.endswith("it/s]\n")


def test_a_stage_that_counts_nothing_shows_its_time() -> None:
    stream = Terminal()
    with ProgressPrinter(stream=stream).stage("load model"):
        pass
    assert stream.getvalue().split("\r")[-1] == "load model: 00:00\n"


def test_quiet_is_quiet() -> None:
    assert shown(Terminal(), quiet=True) == ""


def test_a_note_stands_beside_the_count_in_a_log_file_as_in_a_terminal() -> None:
    log, clock = io.StringIO(), Clock()
    with ProgressPrinter(stream=log, clock=clock).stage("fine-tune", "steps") as progress:
        clock.seconds = 30.0
        note(progress, "loss 0.412, 900 tokens/s")
        progress(3, 12)
    assert log.getvalue().splitlines()[0] == (
        "fine-tune: 25% 3/12 [00:30<01:30, 10.00s/ steps] loss 0.412, 900 tokens/s"
    )
    terminal = Terminal()
    with ProgressPrinter(stream=terminal).stage("fine-tune", "steps") as progress:
        note(progress, "loss 0.412, 900 tokens/s")
        progress(12, 12)
    assert "loss 0.412, 900 tokens/s" in terminal.getvalue()


def test_a_note_is_not_told_to_a_callback_of_the_callers() -> None:
    note(lambda done, total: None, "loss 0.412")


def test_a_brief_stage_says_nothing_in_a_log_file_and_a_long_one_does() -> None:
    for seconds, lines in ((LINE_SECONDS - 1, 0), (LINE_SECONDS, 2)):
        stream, clock = io.StringIO(), Clock()
        with ProgressPrinter(stream=stream, clock=clock).stage("score", brief=True) as progress:
            clock.seconds = seconds
            progress(1, 1)
        assert len(stream.getvalue().splitlines()) == lines
