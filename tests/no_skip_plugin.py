"""A pytest plugin for `.ci/run`: a skipped test fails the run, so that a missing part is not taken for a pass.

Loaded with `-p tests.no_skip_plugin`.
"""

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes a test that was skipped; an expected failure is reported as a skip too, and is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes a file that was skipped as a whole."""
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a run that passed but for its skips."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says why the run failed."""
    if _skipped:
        terminalreporter.write_line(
            f"{len(_skipped)} skipped, and here every test has to run (see the reasons above)", red=True
        )
