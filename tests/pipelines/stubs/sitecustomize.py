"""Python imports this file by itself when its folder stands in PYTHONPATH: steps then find stand-ins for the verbs.

The store, the rows and everything around the verbs are real. Each verb does the least that its signature promises.
"""

import sys
import types
from pathlib import Path
from typing import Any


def _lines(path: Path | None) -> int:
    return len(path.read_text().splitlines()) if path else 0


def validate_inputs(**given: Any) -> dict[str, Any]:
    """Writes one prompt for each output; preferences only if there are any."""
    given["prompts_out"].write_text("{}\n")
    given["eval_prompts_out"].write_text("{}\n")
    given["preferences_out"].write_text("{}\n" if given["preference_dataset"] else "")
    return {"prompts": 1}


def log_generations(*, database_url: str, output: Path, seed: int, num_samples: int, **_: Any) -> dict[str, Any]:
    """Logs answers in the real store."""
    from preflow.identity import generation_id
    from preflow.rows import Generation, write_rows
    from preflow.store import connect, insert_generations

    rows = [
        Generation(
            generation_id=generation_id("p1", "m1", {"seed": seed}, sample),
            prompt_id="p1",
            prompt="What is dew?",
            sample=sample,
            response="Water.",
            model_name="tiny",
            model_digest="m1",
            prompt_tokens=5,
            completion_tokens=4,
            generation_time=0.1,
            finish_reason="stop",
            sampling={"seed": seed},
        )
        for sample in range(num_samples)
    ]
    with connect(database_url) as connection:
        insert_generations(connection, rows)
    return {"rows": write_rows(output, rows)}


def score_generations(*, generations: Path, output: Path, label_weights: dict[str, float], **_: Any) -> dict[str, Any]:
    """Gives every answer the same score."""
    from preflow.rows import Generation, ScoredGeneration, read_rows, write_rows

    made = {
        "scores": dict.fromkeys(label_weights, 0.5),
        "score_reasons": {},
        "reward_score": 0.5,
        "scorer_digest": "s1",
    }
    scored = [ScoredGeneration(**row.model_dump(), **made) for row in read_rows(generations, Generation)]
    return {"rows": write_rows(output, scored), "mean": {"relevance": 0.5}}


def snapshot_feedback(*, database_url: str, feedback_watermark: str, output: Path) -> dict[str, Any]:
    """Writes the real store's feedback."""
    from preflow.rows import write_rows
    from preflow.store import connect, read_feedback

    with connect(database_url) as connection:
        return {"rows": write_rows(output, read_feedback(connection, feedback_watermark))}


def build_preferences(**given: Any) -> dict[str, Any]:
    """Counts the rows of each source."""
    given["output"].write_text("{}\n")
    return {name: _lines(given[name]) for name in ("scored_generations", "feedback", "preferences")}


def train_reward_model(*, output: Path, **_: Any) -> dict[str, Any]:
    """Trains nothing."""
    output.mkdir()
    roc = {"fpr": [0.0, 0.0, 1.0], "tpr": [0.0, 1.0, 1.0], "threshold": [float("inf"), 0.5, 0.1]}
    return {"accuracy": 0.75, "baseline_longer": 0.625, "roc": roc, "confusion": [[3, 1], [1, 3]]}


def ppo_config(options: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Takes whatever the component passes."""
    return {**options, **settings}


def optimize_policy(*, output: Path, training_log: Path, config: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Optimizes nothing."""
    output.mkdir()
    training_log.write_text("{}\n")
    return {"updates": 8, "kl_coeff": config["kl_coeff"]}


def evaluate(**given: Any) -> dict[str, Any]:
    """Answers one prompt twice and finds the second answer better."""
    from preflow.rows import Answer, Evaluation, write_rows

    answer = Answer(response="Water.", tokens=4, finish_reason="stop", scores={"relevance": 0.5})
    row = Evaluation(prompt_id="p2", prompt="What is rain?", answers={"base": answer, "tuned": answer})
    write_rows(given["evaluations_out"], [row])
    given["report_out"].write_text("<p>better</p>")
    given["markdown_out"].write_text("better")
    rate = {"win_rate": 0.75, "low": 0.625, "high": 0.875}
    return {
        **{
            "win_rate": 0.75,
            "win_rate_low": 0.625,
            "win_rate_high": 0.875,
            "kl": 2.5,
            "win_rates": {"label_score": rate},
        },
        **{"base": {"eos_rate": 0.5}, "tuned": {"eos_rate": 1.0}},
    }


def decide_promotion(*, win_rate_low: float, kl: float, min_win_rate: float, max_kl: float) -> tuple[bool, str]:
    """The rule in its plainest form."""
    return win_rate_low > min_win_rate and kl <= max_kl, "better"


def install() -> None:
    """Puts the stand-ins where the components import the verbs from."""
    places = {
        "preflow.inputs": [validate_inputs],
        "preflow.generation.log_generations": [log_generations],
        "preflow.scoring.score_generations": [score_generations],
        "preflow.feedback": [snapshot_feedback],
        "preflow.preferences": [build_preferences],
        "preflow.reward": [train_reward_model],
        "preflow.ppo": [optimize_policy, ppo_config],
        "preflow.evaluation": [evaluate],
        "preflow.promotion": [decide_promotion],
    }
    for module, members in places.items():
        double = types.ModuleType(module)
        for member in members:
            setattr(double, member.__name__, member)
        sys.modules[module] = double


install()
