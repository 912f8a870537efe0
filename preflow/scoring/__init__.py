"""Automated scores: one module a metric, and the weighted label score that preferences are made of."""
