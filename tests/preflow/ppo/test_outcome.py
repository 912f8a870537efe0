"""When a run ends early, and with which policy."""

from typing import Any

import pytest
import torch

from preflow.ppo.config import PPOConfig
from preflow.ppo.outcome import reason_to_stop
from tests.preflow.ppo.settings import replace


class Episodes:
    """What a rollout has to say about stopping."""

    def __init__(self, score: float, kl: float) -> None:
        self.scores, self.kl = torch.tensor([score - 1, score + 1]), kl


def reason(config: PPOConfig, scores: list[float], kls: list[float]) -> str:
    log = [{"reward_mean": score, "kl": kl} for score, kl in zip(scores[:-1], kls[:-1], strict=True)]
    rollout: Any = Episodes(scores[-1], kls[-1])
    return reason_to_stop(log, rollout, config)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([9.0], ""),
        ([9.0, 9.0], ""),
        ([0.0, 1.0, 9.0], "the mean score 3.333 of 3 updates reached reward_threshold 2"),
        ([0.0, 1.0, 4.5], ""),
        ([9.0, 0.0, 1.0, 4.5], ""),
        ([0.0, 1.0, 2.0, 3.0], "the mean score 2.000 of 3 updates reached reward_threshold 2"),
    ],
)
def test_the_mean_score_of_three_updates_ends_a_run(config: PPOConfig, scores: list[float], expected: str) -> None:
    assert reason(replace(config, reward_threshold=2.0), scores, [0.0] * len(scores)) == expected
    assert reason(config, scores, [0.0] * len(scores)) == ""


@pytest.mark.parametrize(
    ("kls", "expected"),
    [
        ([0.0, 2.5], ""),
        ([0.0, 9.0], "the mean KL 4.50 of 2 updates exceeded kl_budget 2"),
        ([0.0, 1.0, 4.5], ""),
        ([9.0, 1.0, 2.0, 2.5], ""),
        ([0.0, 1.0, 3.0, 4.0], "the mean KL 2.67 of 3 updates exceeded kl_budget 2"),
    ],
)
def test_the_mean_kl_of_up_to_three_updates_ends_a_run(config: PPOConfig, kls: list[float], expected: str) -> None:
    assert reason(replace(config, kl_budget=2.0), [0.0] * len(kls), kls) == expected
    assert reason(config, [0.0] * len(kls), kls) == ""
