"""Where the score stands and what it loses."""

import math

import pytest
import torch

from preflow.ppo.rewards import leave_one_out, penalise_missing_eos, replace_nonfinite, token_rewards


def test_an_episode_without_an_end_loses_the_penalty() -> None:
    found = penalise_missing_eos(torch.tensor([1.0, 2.0, -3.0]), torch.tensor([True, False, False]), 0.5)
    assert found.tolist() == [1.0, 1.5, -3.5]


def test_the_score_stands_on_the_last_token_and_the_penalty_on_all() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    kl = torch.tensor([[1.0, -2.0, 0.5], [3.0, 9.0, 9.0]])
    found = token_rewards(torch.tensor([10.0, 20.0]), kl, mask, 0.1)
    assert found[0].tolist() == pytest.approx([-0.1, 0.2, 9.95])
    assert found[1].tolist() == pytest.approx([19.7, 0.0, 0.0])


def test_a_score_is_compared_with_the_others_of_its_prompt() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2; 0 - (0 + 3) / 2 twice, 3 - 0.
    assert leave_one_out(scores, 3).tolist() == [-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]
    assert leave_one_out(scores, 1).tolist() == scores.tolist()


def test_a_score_that_is_no_number_counts_as_the_mean_of_the_others() -> None:
    scores, missing = replace_nonfinite(torch.tensor([1.0, math.nan, 5.0, math.inf, -math.inf]))
    assert (scores.tolist(), missing) == ([1.0, 3.0, 5.0, 3.0, 3.0], 3)
    scores, missing = replace_nonfinite(torch.tensor([math.nan, math.nan]))
    assert (scores.tolist(), missing) == ([0.0, 0.0], 2)
