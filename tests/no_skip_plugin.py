"""A pytest plugin for `.ci/run`: with CI=true a skipped test fails the run, so that a gap does not pass for a success.

A test that needs root may be skipped. Loaded with `-p tests.no_skip_plugin`.
"""

import os

import pytest

_ALLOWED = "Skipped: needs root"
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes a skipped test. An expected failure is reported as a skip too, and is not one."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes a file that was skipped as a whole."""
    if report.skipped:
        _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if os.environ.get("CI") == "true" and reason != _ALLOWED:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a run that passed except for its skips."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says why the run failed."""
    if _skipped:
        terminalreporter.write_line(
            f"{len(_skipped)} skipped; with CI=true every test has to run (reasons above)", red=True
        )
