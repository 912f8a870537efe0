"""Metrics of an update by hand, and the log in TensorBoard."""

from pathlib import Path

import pytest
import torch

from preflow.ppo.training_log import LengthsAndScores, correlation, event_log, length_binned_gain, sampler_strays


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


def rows(*numbers: tuple[float, float], steps: float = 4.0) -> list[dict[str, float]]:
    return [{"sampler_gap": gap, "approx_kl": moved, "optimizer_steps": steps} for gap, moved in numbers]


def test_a_sampler_strays_if_it_differs_twice_by_more_than_an_average_update() -> None:
    # A gap of 0.1 is a KL of pi / 4 * 0.01 = 0.00785.
    assert sampler_strays(rows((0.0, 0.01), (0.1, 0.005), (0.1, 0.005)))  # 0.00667 on average
    assert not sampler_strays(rows((0.0, 0.02), (0.1, 0.005), (0.1, 0.005)))  # 0.01
    assert not sampler_strays(rows((0.0, 0.01), (0.0, 0.005), (0.1, 0.005)))
    assert not sampler_strays(rows((0.1, 0.005)))


def test_updates_that_do_not_see_how_far_they_move_the_policy_say_nothing() -> None:
    assert not sampler_strays(rows((0.1, 1e-12), (0.1, 1e-12), steps=1.0))
    assert not sampler_strays(rows((0.1, 0.0), (0.1, 0.0)))  # while only the critic learns
    assert sampler_strays([*rows((0.0, 0.0)), *rows((0.1, 0.005), (0.1, 0.005))])


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Every scalar of a folder's event files, by name and step."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            found.update({(value.tag, event.step): value.simple_value for value in event.summary.value})
    return found


def test_rows_become_tensorboard_scalars_by_update(tmp_path: Path) -> None:
    with event_log(str(tmp_path), []) as write:
        write({"update": 1, "kl": 0.5, "reward/reward_model": -1.0})
        write({"update": 2, "kl": 1.5})
    assert scalars(tmp_path) == {("ppo/kl", 1): 0.5, ("ppo/reward/reward_model", 1): -1.0, ("ppo/kl", 2): 1.5}


def test_a_run_resumed_with_another_tensorboard_folder_has_its_first_updates_there_too(tmp_path: Path) -> None:
    with event_log(str(tmp_path), [{"update": 1, "kl": 0.5}]) as write:
        write({"update": 2, "kl": 1.5})
    assert scalars(tmp_path) == {("ppo/kl", 1): 0.5, ("ppo/kl", 2): 1.5}


def test_without_a_tensorboard_folder_nothing_is_written(tmp_path: Path) -> None:
    with event_log("", []) as write:
        write({"update": 1, "kl": 0.5})
    assert not list(tmp_path.iterdir())
