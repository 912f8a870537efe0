"""Automated scores: one module per metric, and the weighted label score from which preferences are made."""
