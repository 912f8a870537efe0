"""Base and tuned model answer unseen prompts; every judge compares them; the report says whether it got better."""

from preflow.evaluation.evaluate import evaluate

__all__ = ["evaluate"]
