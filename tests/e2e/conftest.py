"""The report data of the evaluation's tests, for the tests in a browser."""

from tests.preflow.report.conftest import make_data

__all__ = ["make_data"]
