"""The loop: log answers, score them, gather feedback, learn what is preferred, optimize, evaluate, promote, record."""

from components.auto_score import auto_score
from components.feedback_snapshot import feedback_snapshot
from components.log_generations import log_generations
from components.validate_inputs import validate_inputs
from pipelines.graph import pipeline
from pipelines.learning import LEARNING

rlhf = pipeline(
    "rlhf",
    "Logs, scores and judges a language model's answers, and tunes it on what is preferred.",
    steps=[validate_inputs, log_generations, auto_score, feedback_snapshot, *LEARNING],
)
