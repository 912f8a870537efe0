"""The image that every component runs in."""

import os

IMAGE = os.environ.get("PREFLOW_IMAGE", "preflow-python:latest")
"""Read when a pipeline is compiled. Locally, steps run in the launcher's Python; the name only stands in cache keys."""
