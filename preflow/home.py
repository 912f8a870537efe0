"""Where preflow keeps its files on this machine."""

import os
from pathlib import Path


def preflow_home() -> Path:
    """The folder of runs, cache, artifacts, models and the embedded database: PREFLOW_HOME, or ~/.preflow."""
    return Path(os.environ.get("PREFLOW_HOME") or "~/.preflow").expanduser().absolute()
