"""Where the score stands and what it loses."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preflow.ppo.rewards import (
    RewardStatistics,
    clipped,
    leave_one_out,
    penalise_missing_eos,
    replace_nonfinite,
    token_rewards,
)


@pytest.mark.parametrize(("missing_eos", "expected"), [("subtract", [1.0, 1.5, -3.5]), ("replace", [1.0, -0.5, -0.5])])
def test_an_episode_without_an_end_is_punished(missing_eos: Any, expected: list[float]) -> None:
    found = penalise_missing_eos(torch.tensor([1.0, 2.0, -3.0]), torch.tensor([True, False, False]), 0.5, missing_eos)
    assert found.tolist() == expected


def test_scores_are_cut_and_the_cut_ones_counted() -> None:
    scores, share = clipped(torch.tensor([0.5, -7.0, 3.0, 2.0]), 2.0)
    assert (scores.tolist(), share) == ([0.5, -2.0, 2.0, 2.0], 0.5)
    scores, share = clipped(torch.tensor([0.5, -7.0]), 0.0)
    assert (scores.tolist(), share) == ([0.5, -7.0], 0.0)


def test_statistics_by_hand() -> None:
    found = RewardStatistics().including(torch.tensor([1.0, 3.0])).including(torch.tensor([5.0, 7.0]))
    assert (found.count, found.mean, found.squares) == (4, 4.0, 20.0)
    assert found.deviation == pytest.approx(5**0.5)
    assert RewardStatistics().deviation == RewardStatistics().including(torch.ones(3)).deviation == 1.0


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5), min_size=1, max_size=5))
def test_statistics_do_not_depend_on_the_pieces(pieces: list[list[float]]) -> None:
    found = RewardStatistics()
    for piece in pieces:
        found = found.including(torch.tensor(piece))
    whole = RewardStatistics().including(torch.tensor([value for piece in pieces for value in piece]))
    assert found.count == whole.count
    assert found.mean == pytest.approx(whole.mean, abs=1e-4)
    assert found.squares == pytest.approx(whole.squares, abs=1e-2, rel=1e-4)


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
    scores = torch.tensor([1.0, math.nan, 5.0, math.inf, -math.inf])
    assert replace_nonfinite(scores).tolist() == [1.0, 3.0, 5.0, 3.0, 3.0]
    assert replace_nonfinite(torch.tensor([math.nan, math.nan])).tolist() == [0.0, 0.0]
