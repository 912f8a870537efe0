"""What the log says of an update, by hand."""

import pytest
import torch

from preflow.ppo.training_log import LengthsAndScores, correlation, length_binned_gain


def test_correlation_by_hand() -> None:
    lengths = torch.tensor([1.0, 2.0, 3.0])
    assert correlation(lengths, torch.tensor([2.0, 4.0, 6.0])) == pytest.approx(1.0)
    assert correlation(lengths, torch.tensor([1.0, 0.0, -1.0])) == pytest.approx(-1.0)
    assert correlation(lengths, torch.tensor([1.0, 2.0, 0.0])) == pytest.approx(-0.5)
    assert correlation(lengths, torch.tensor([5.0, 5.0, 5.0])) == 0.0


# Quartiles of 1 to 8 are 2.75, 4.5 and 6.25: the bins hold 1-2, 3-4, 5-6 and 7-8.
BEFORE = LengthsAndScores([1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 3, 3])


def test_answers_that_are_only_longer_gain_nothing() -> None:
    now = LengthsAndScores([7, 7, 8, 8], [3, 3, 3, 3])  # the mean score rises from 1.5 to 3
    assert length_binned_gain(now, BEFORE) == 0.0


def test_a_gain_counts_within_bins_by_their_answers() -> None:
    now = LengthsAndScores([1, 5, 6, 6], [4, 3, 3, 3])  # one answer gains 4, three gain 1
    assert length_binned_gain(now, BEFORE) == pytest.approx((4 + 3) / 4)
    assert length_binned_gain(BEFORE, BEFORE) == 0.0


def test_bins_that_were_empty_are_left_out() -> None:
    before = LengthsAndScores([4, 4, 4, 4], [1, 1, 1, 1])
    assert length_binned_gain(LengthsAndScores([2, 4, 9], [5, 3, 9]), before) == pytest.approx((5 + 3 - 2) / 2)
    assert length_binned_gain(LengthsAndScores([9], [5]), before) == 0.0
