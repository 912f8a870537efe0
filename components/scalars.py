"""Nested summaries as flat numbers, for metadata and metrics. Embedded into components, so it imports nothing.

KFP's executor has the names of `typing`, `Any` among them, without an import.
"""

from typing import Any


def scalars(summary: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a nested summary under flat names, such as `eval_kl` and `eval_base_bleu`.

    KFP's launcher fails a step for a null in an artifact's metadata, and wraps lists and maps. Vertex merges the
    metrics of all steps of a run into one row, hence the prefix. Lists, texts and infinities are left out.

    Args:
        summary: What a verb of the library returned.
        prefix: Name of the step, such as `eval`.
    """
    flat: dict[str, float] = {}
    for key, value in summary.items():
        name = f"{prefix}_{key}" if prefix else key
        if isinstance(value, dict):
            flat.update(scalars(value, name))
        elif isinstance(value, (int, float)) and abs(value) < float("inf"):
            flat[name] = float(value)
    return flat
