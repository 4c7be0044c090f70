"""Progress: a bar on a terminal, one line a stage elsewhere, nothing when quiet."""

import io

from sycophancy_core.runs.progress import ProgressPrinter, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *, quiet: bool = False) -> str:
    with ProgressPrinter(stream=stream, quiet=quiet).stage("score") as progress:
        progress(5, 10)
        progress(10, 10)
    return stream.getvalue()


def test_a_line_holds_bar_count_rate_and_time_left() -> None:
    assert progress_line("score", 500, 2000, 10.0) == (
        f"{'score':<34} [######..................] 500/2,000  50.0/s  0:30 left"
    )


def test_elsewhere_than_on_a_terminal_a_stage_is_one_line() -> None:
    text = shown(io.StringIO())
    assert text.count("\n") == 1
    assert "10/10" in text
    assert "\x1b" not in text


def test_a_terminal_shows_the_bar_and_ends_with_the_line() -> None:
    text = shown(Terminal())
    assert "[########################] 10/10" in text
    assert text.endswith(" s\n")


def test_quiet_is_quiet() -> None:
    assert shown(Terminal(), quiet=True) == ""
