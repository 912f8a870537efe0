"""Python imports this file by itself when its folder stands in PYTHONPATH: steps then find stand-ins for the verbs.

The store, the rows and everything around the verbs are real. Each verb does the least that its signature promises.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any

_BOUNDS = {"win_rate": "", "low": "_low", "high": "_high"}


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


def base_inference(*, output: Path, **_: Any) -> dict[str, Any]:
    """Answers nothing."""
    output.write_text("{}\n")
    return {"replies": 1}


def eval_inference(**given: Any) -> dict[str, Any]:
    """Answers one prompt twice and finds the second answer better."""
    from preflow.rows import Answer, Evaluation, write_rows

    answer = Answer(response="Water.", tokens=4, finish_reason="stop", scores={"relevance": 0.5})
    row = Evaluation(prompt_id="p2", prompt="What is rain?", answers={"base": answer, "tuned": answer})
    given["output"].mkdir()
    write_rows(given["output"] / "evaluations.jsonl", [row])
    rate = {"win_rate": 0.75, "low": 0.625, "high": 0.875}
    controlled = {f"length_controlled{rest}": rate[name] for name, rest in _BOUNDS.items()}
    rates = {"label_score": {**rate, **controlled, "wins": 3, "ties": 0, "losses": 1}}
    summary = {
        **{"lead": "label_score", "win_rate": 0.75, "win_rate_low": 0.625, "win_rate_high": 0.875},
        **{"win_rates": rates, "temperatures": {"0": rates, "0.7": rates}},
        **{"best_base": {"temperature": 0.5, **rates["label_score"]}, "kl": 2.5, "kl_high": 3.5},
        **{"base": {"eos_rate": 0.5}, "tuned": {"eos_rate": 1.0}},
        **{"canaries": {"label_score": {"empty": 0.0}}, "canary_wins": {}, "reward_model_test": None},
        **{"reward_model_accuracy": 0.75, "baseline_longer": 0.625, "baseline_similarity": 0.5},
        "judges": {
            "label_score": {"role": "label score", "bases": ["words"], "maximized": False},
            "reward_model": {"role": "reward model", "bases": ["sentence encoder"], "maximized": True},
        },
        "run": {
            "base_model": "tiny",
            "policy_digest": "p1",
            "max_tokens": 8,
            "definitions": {},
            "parameters": {},
            "reward_model": json.loads((given["reward_model"] / "summary.json").read_text()),
        },
    }
    (given["output"] / "summary.json").write_text(json.dumps(summary))
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
        "preflow.evaluation.base_inference": base_inference,
        "preflow.evaluation.eval_inference": eval_inference,
    }
    for module, verb in places.items():
        double = types.ModuleType(module)
        setattr(double, verb.__name__, verb)
        sys.modules[module] = double


install()
