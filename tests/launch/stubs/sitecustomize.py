"""Python imports this file by itself when its folder stands in PYTHONPATH: steps then find stand-ins for the verbs.

The store, the rows and everything around the verbs are real. Each verb does the least that its signature promises.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any


def _lines(path: Path | None) -> int:
    return len(path.read_text().splitlines()) if path else 0


def validate_inputs(**given: Any) -> dict[str, Any]:
    """Writes one prompt for each output; feedback only with a preference dataset."""
    given["prompts_out"].write_text("{}\n")
    given["eval_prompts_out"].write_text("{}\n")
    given["given_feedback_out"].write_text("{}\n" if given["preference_dataset"] else "")
    return {"prompts": 1}


def log_generations(*, database_url: str, output: Path, config: Any, **_: Any) -> dict[str, Any]:
    """Logs answers in the real store."""
    from preflow.identity import generation_id
    from preflow.rows import Generation, write_rows
    from preflow.store import connect, insert_generations

    rows = [
        Generation(
            generation_id=generation_id("p1", "m1", {"seed": config.seed}, sample),
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
            sampling={"seed": config.seed},
        )
        for sample in range(config.num_samples)
    ]
    with connect(database_url) as connection:
        insert_generations(connection, rows)
    return {"rows": write_rows(output, rows)}


def auto_score(*, generations: Path, output: Path, label_weights: dict[str, float], **_: Any) -> dict[str, Any]:
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


def feedback_snapshot(*, database_url: str, feedback_watermark: str, output: Path, instruction: str) -> dict[str, Any]:
    """Writes the real store's feedback."""
    from preflow.rows import write_rows
    from preflow.store import connect, read_feedback

    with connect(database_url) as connection:
        return {"rows": write_rows(output, read_feedback(connection, feedback_watermark))}


def build_preferences(**given: Any) -> dict[str, Any]:
    """Counts the rows of each source."""
    given["output"].write_text("{}\n")
    return {name: _lines(given[name]) for name in ("scored_generations", "feedback", "given_feedback")}


def train_reward_model(*, output: Path, **_: Any) -> dict[str, Any]:
    """Trains nothing."""
    output.mkdir()
    (output / "summary.json").write_text('{"accuracy": 0.75, "baseline_longer": 0.625}')
    roc = {"fpr": [0.0, 0.0, 1.0], "tpr": [0.0, 1.0, 1.0], "threshold": [0.9, 0.5, 0.1]}
    return {"accuracy": 0.75, "baseline_longer": 0.625, "roc": roc, "confusion": [[3, 1], [1, 3]]}


def ppo_optimize(*, output: Path, training_log: Path, config: Any, **_: Any) -> dict[str, Any]:
    """Optimizes nothing."""
    output.mkdir()
    training_log.write_text("{}\n")
    return {"updates": 8, "kl_coeff": config.kl_coeff}


def eval_inference(**given: Any) -> dict[str, Any]:
    """Answers one prompt twice and finds the second answer better."""
    from preflow.rows import Answer, Evaluation, write_rows

    answer = Answer(response="Water.", tokens=4, finish_reason="stop", scores={"relevance": 0.5})
    row = Evaluation(prompt_id="p2", prompt="What is rain?", answers={"base": answer, "tuned": answer})
    given["evaluations_out"].mkdir()
    write_rows(given["evaluations_out"] / "evaluations.jsonl", [row])
    given["report_out"].write_text("<p>better</p>")
    given["markdown_out"].write_text("better")
    rate = {"win_rate": 0.75, "low": 0.625, "high": 0.875}
    summary = {
        **{"win_rate": 0.75, "win_rate_low": 0.625, "win_rate_high": 0.875, "kl": 2.5},
        **{"win_rates": {"label_score": rate}, "base": {"eos_rate": 0.5}, "tuned": {"eos_rate": 1.0}},
        **json.loads((given["reward_model"] / "summary.json").read_text()),
        **{"reward_model_accuracy": 0.75, "baseline_similarity": None},
    }
    (given["evaluations_out"] / "summary.json").write_text(json.dumps(summary))
    return summary


def install() -> None:
    """Puts the stand-ins where the components import the verbs from."""
    import preflow.ppo

    preflow.ppo.ppo_optimize = ppo_optimize  # type: ignore[attr-defined]
    places = {
        "preflow.inputs": validate_inputs,
        "preflow.generation.log_generations": log_generations,
        "preflow.scoring.auto_score": auto_score,
        "preflow.feedback.snapshot": feedback_snapshot,
        "preflow.preferences": build_preferences,
        "preflow.reward.train": train_reward_model,
        "preflow.evaluation.eval_inference": eval_inference,
    }
    for module, verb in places.items():
        double = types.ModuleType(module)
        setattr(double, verb.__name__, verb)
        sys.modules[module] = double


install()
