"""The report in a real browser: it is drawn, and needs nothing from anywhere."""

import html
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from preflow.report.data import ReportData
from preflow.report.headline import make_headline
from preflow.report.page import render_report

pytestmark = pytest.mark.e2e
# No name resolves, so that neither the page nor the browser itself reaches anything.
CHROMIUM = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
    "--window-size=1000,1400",
]  # fmt: skip
Browse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Opens a page and returns what the browser wrote; its profile is its own."""

    def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        return subprocess.run(
            [*CHROMIUM, profile, *options, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
        )

    return run


@pytest.fixture
def report(make_data: Callable[..., ReportData], tmp_path: Path) -> tuple[Path, str]:
    """A report on disk, and its headline."""
    data = make_data()
    page = tmp_path / "report.html"
    page.write_text(render_report(data), encoding="utf-8")
    return page, make_headline(data).line


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that the page's console got."""
    return [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[(:]", line)]


def requests(network_log: Path) -> set[str]:
    """The URLs that a page asked for; what the browser asks for on its own account has no page's origin."""
    found = [event.get("params", {}) for event in json.loads(network_log.read_text())["events"]]
    return {asked["url"] for asked in found if asked.get("initiator", "not an origin") != "not an origin"}


def test_the_report_is_drawn(browse: Browse, report: tuple[Path, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>Empty</title>")
    sizes = {}
    for page in (empty, report[0]):
        picture = tmp_path / f"{page.stem}.png"
        browse(page, f"--screenshot={picture}")
        assert picture.read_bytes().startswith(b"\x89PNG")
        sizes[page.stem] = picture.stat().st_size
    # PNG packs a page of one colour into almost nothing.
    assert sizes["report"] > 10 * sizes["empty"]


def test_the_report_has_its_headline_and_asks_for_nothing(
    browse: Browse, report: tuple[Path, str], tmp_path: Path
) -> None:
    page, headline = report
    done = browse(page, "--dump-dom", f"--log-net-log={tmp_path / 'net.json'}")
    assert f"<h1>{headline}</h1>" in html.unescape(done.stdout)
    assert (console(done), requests(tmp_path / "net.json")) == ([], set())


PICTURE = "https://preflow.invalid/a.png"


@pytest.mark.parametrize(("policy", "refused", "asked"), [(True, 1, set()), (False, 0, {PICTURE})])
def test_a_request_would_be_noticed(
    browse: Browse, report: tuple[Path, str], tmp_path: Path, policy: bool, refused: int, asked: set[str]
) -> None:
    page, _ = report
    text = page.read_text(encoding="utf-8").replace("<main>", f'<main><img src="{PICTURE}">')
    page.write_text(text if policy else re.sub("<meta http-equiv.*?>", "", text), encoding="utf-8")
    done = browse(page, "--dump-dom", f"--log-net-log={tmp_path / 'net.json'}")
    assert (len(console(done)), requests(tmp_path / "net.json")) == (refused, asked)
