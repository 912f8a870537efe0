"""The three classic stages on given data: reward model, PPO, inference."""

from components.validate_inputs import validate_inputs
from pipelines.graph import pipeline
from pipelines.learning import LEARNING
from pipelines.parameters import PARAMETERS

rlhf_from_preferences = pipeline(
    "rlhf-from-preferences",
    "Tunes a language model on given preferences: reward model, PPO, inference.",
    steps=[validate_inputs, *LEARNING],
    constants={"label_weights": {}, "min_score_gap": 0.0, "feedback_watermark": ""},
    # Nothing is trained on a metric here, so all of them can watch.
    defaults={"monitors": [*PARAMETERS["label_weights"].default, *PARAMETERS["monitors"].default]},
)
