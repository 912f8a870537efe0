"""Nested summaries as the flat numbers of a Metrics artifact. Embedded into components, so it imports nothing."""


def scalars(summary: dict, prefix: str) -> dict:
    """The finite numbers of a nested summary under flat names, such as `eval_kl` and `eval_base_bleu`.

    Vertex merges the metrics of all steps of a run into one row, hence the prefix. Lists, texts and infinities do not
    fit there and are left out.

    Args:
        summary: What a library verb returned.
        prefix: Names the step, such as `eval`.
    """
    flat = {}
    for key, value in summary.items():
        name = f"{prefix}_{key}"
        if isinstance(value, dict):
            flat.update(scalars(value, name))
        elif isinstance(value, (int, float)) and abs(value) < float("inf"):
            flat[name] = float(value)
    return flat
