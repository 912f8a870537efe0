"""`preflow feedback import`: feedback of any accepted form, from a file into the store."""

from typing import get_args

from preflow import store
from preflow.errors import PreflowError
from preflow.feedback.importers import read_feedback_file
from preflow.rows import FeedbackSource
from preflow.settings import require


def import_feedback(
    *, file: str, database_url: str, source: FeedbackSource | None = None, labeler: str | None = None
) -> dict[str, int]:
    """Writes the feedback of a file into the store, in one transaction.

    Ids follow from content, so importing a file again, in any order of its lines, changes nothing. The same judgement
    in another file is the same feedback, too; `labeler` keeps the judgements of two people apart.

    Args:
        file: Local path, gs:// URI or packaged name of JSON Lines in any accepted form.
        database_url: DSN of the store.
        source: Source of every row; None keeps that of our own rows, and is `human` for other forms.
        labeler: Labeler of every row; None keeps that of our own rows, and is `external` for other forms.

    Returns:
        `new` and `known`, the numbers of rows that the store did not have and had; `identical`, the number of lines
        left out because all their texts are identical.

    Raises:
        PreflowError: Lines are refused, and nothing was written. The message has one line for each: no accepted form,
            a wrong value, or an id that the store holds with other content. Also for a missing or empty file, a wrong
            `source` or `labeler`, and a database that cannot be reached.
    """
    sources = get_args(FeedbackSource)
    require(source is None or source in sources, "source", source, f"must be one of {', '.join(sources)}")
    require(labeler is None or bool(labeler.strip()), "labeler", labeler, "must not be blank")
    (located, identical), refused = read_feedback_file(file, labeler, source)
    rows = [row for _, row in located]
    with store.connect(database_url) as connection:
        taken = store.taken_feedback_ids(connection, rows)
        for where, row in located:
            if row.feedback_id in taken:
                refused[where] = (
                    f"{where}: field 'feedback_id': '{row.feedback_id}' is in the store with other content; "
                    "feedback is append-only, so use a new id"
                )
        if refused:
            in_order = sorted(refused.items(), key=lambda item: int(item[0].rpartition(" ")[2]))
            problems = [problem for _, problem in in_order]
            raise PreflowError("\n".join([*problems, f"nothing was written; lines refused: {len(problems)}"]))
        new = store.append_feedback(connection, rows)
    return {"new": new, "known": len(rows) - new, "identical": identical}
