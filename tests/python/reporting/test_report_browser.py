"""The report in a real browser: shown as meant, no script run, nothing asked of the network."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from makers.tiny_llama import tiny_model
from test_report import LOG, MANIFEST, comparison

import sycophancy_core as sc
from sycophancy_core.reporting.report import report_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: Debian's package chromium is not installed")

ATTACK = """"><img src="http://127.0.0.1:{port}/image"><script>document.title = "owned";
new Image().src = "http://127.0.0.1:{port}/script";</script>"""


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[int, list[str]]]:
    """Run a local server that notes what it is asked for: (its port, the paths)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--hide-scrollbars", "--window-size=1200,2400", "--virtual-time-budget=2000", "--enable-logging=stderr"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, trap: tuple[int, list[str]]) -> Path:
    """Write a report full of attacks; a dialog would hold the browser until its time is over."""
    attack = ATTACK.format(port=trap[0]) + "<script>alert(1)</script>"
    manifest = {**MANIFEST, "subject": attack, "note": attack}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(comparison(), manifest=manifest, training_log=LOG), encoding="utf-8")
    return path


def test_hostile_names_run_nothing_and_ask_nothing(page: Path, tmp_path: Path, trap: tuple[int, list[str]]) -> None:
    trap[1].clear()
    seen = browse(page, tmp_path, "--dump-dom")
    assert "<title>Sycophancy before and after</title>" in seen.stdout
    assert "CONSOLE" not in seen.stderr
    assert trap[1] == []


def test_hostile_model_names_run_nothing_either(tmp_path: Path, trap: tuple[int, list[str]]) -> None:
    attack = ATTACK.format(port=trap[0]) + "<script>alert(1)</script>"
    models = {attack: tiny_model(), "a": tiny_model(seed=1)}
    found = sc.evaluate_many(models, tasks=("addition_factorial",), limit=3, families=[attack, "b"])
    found.save(tmp_path / "out")
    trap[1].clear()
    seen = browse(tmp_path / "out" / "report.html", tmp_path / "profile", "--dump-dom")
    assert "<title>Sycophancy of several models</title>" in seen.stdout
    assert "&lt;script&gt;alert(1)" in seen.stdout
    assert "CONSOLE" not in seen.stderr
    assert trap[1] == []


def test_the_trap_catches_a_page_that_does_not_escape(tmp_path: Path, trap: tuple[int, list[str]]) -> None:
    careless = tmp_path / "careless.html"
    careless.write_text(f"<title>x</title><p>{ATTACK.format(port=trap[0])}</p>", encoding="utf-8")
    seen = browse(careless, tmp_path / "profile", "--dump-dom")
    assert "<title>owned</title>" in seen.stdout
    assert {"/image", "/script"} <= set(trap[1])


@pytest.mark.parametrize(("setting", "paper", "after"), [(1, "#ffffff", "#0072b2"), (0, "#15181c", "#56b4e9")])
def test_style_and_figures_are_shown_in_light_and_dark(
    page: Path, tmp_path: Path, setting: int, paper: str, after: str
) -> None:
    shot = tmp_path / "shot.png"
    browse(page, tmp_path / "profile", f"--blink-settings=preferredColorScheme={setting}", f"--screenshot={shot}")
    pixels = np.rint(matplotlib.image.imread(shot)[..., :3] * 255).astype(int)

    def share(color: str) -> float:
        return float((pixels == [int(color[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2).mean())

    assert share(paper) > 0.5
    assert share(after) * pixels.shape[0] * pixels.shape[1] > 200
