"""Automated scores: one module a metric, and the weighted label score that preferences are made of."""

from preflow.scoring.label import label_score, scorer_digest
from preflow.scoring.registry import METRICS, check_roles, score_texts
from preflow.scoring.score_generations import score_generations

__all__ = ["METRICS", "check_roles", "label_score", "score_generations", "score_texts", "scorer_digest"]
