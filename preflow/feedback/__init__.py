"""What people said: read from any accepted form, turned into comparisons, frozen at a watermark."""

from preflow.feedback.exporters import to_ranking, to_trl, to_vertex
from preflow.feedback.importers import ImportedFeedback, import_record, read_preferences
from preflow.feedback.pairs import Comparison, comparisons
from preflow.feedback.snapshot import snapshot_feedback

__all__ = [
    "Comparison",
    "ImportedFeedback",
    "comparisons",
    "import_record",
    "read_preferences",
    "snapshot_feedback",
    "to_ranking",
    "to_trl",
    "to_vertex",
]
