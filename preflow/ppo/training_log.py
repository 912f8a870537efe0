"""The row that the training log gets for each update, and the log as TensorBoard shows it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preflow.ppo.algorithm import k3, masked_mean
from preflow.ppo.config import PPOConfig
from preflow.ppo.rollout import Rollout
from preflow.ppo.update import UpdateStats

_LENGTH_BINS = 4
_ABOUT_VALUES = ("explained_variance", "value_loss", "value_clip_fraction")
Row = Mapping[str, Any]


class LengthsAndScores(NamedTuple):
    """Lengths of answers in tokens and their scores, one of each per episode."""

    lengths: list[float]
    scores: list[float]


def log_row(
    number: int,
    rollout: Rollout,
    stats: UpdateStats,
    config: PPOConfig,
    *,
    kl_coeff: float,
    first: LengthsAndScores,
    seconds: float,
) -> dict[str, Any]:
    """Metrics of an update; without a critic, those about values are absent.

    Args:
        number: Number of the update, from 1.
        rollout: Episodes of the update.
        stats: Statistics of its optimizer steps.
        config: Settings.
        kl_coeff: KL coefficient of this update.
        first: Episodes of the first update, sampled before any training.
        seconds: Time since the run began.
    """
    mask = rollout.mask
    lengths = mask.sum(1).float()
    returns, values = rollout.returns[mask], rollout.values[mask]
    variance, unexplained = returns.var(correction=0), (returns - values).var(correction=0)
    stopped = float(rollout.stopped.float().mean())
    row = {
        "update": number,
        "episodes": number * config.batch_size,
        "seconds": round(seconds, 2),
        **{f"seconds_{phase}": round(spent, 2) for phase, spent in rollout.seconds.items()},
        "reward_mean": float(rollout.scores.mean()),
        "reward_std": float(rollout.scores.std(correction=0)),
        **{f"reward/{name}": mean for name, mean in rollout.parts.items()},
        "reward_clipped": rollout.clipped_scores,
        "reward_length_correlation": correlation(lengths, rollout.scores),
        "length_binned_gain": length_binned_gain(LengthsAndScores(lengths.tolist(), rollout.scores.tolist()), first),
        "kl": rollout.kl,
        "kl_k3": float((k3(rollout.logprobs, rollout.reference) * mask).sum(1).mean()),
        "entropy": float(masked_mean(rollout.entropy, mask)),
        "response_tokens_mean": float(lengths.mean()),
        "response_tokens_p95": float(lengths.quantile(0.95)),
        "eos_rate": stopped,
        "truncation_rate": 1 - stopped,
        "distinct_3": float(rollout.distinct.mean()),
        "explained_variance": float(1 - unexplained / variance) if variance > 1e-8 else 0.0,
        "sampler_gap": rollout.sampler_gap,
        "nonfinite_scores": rollout.nonfinite_scores,
        "learning_rate": config.policy_rate * config.rate((number - 1) * config.steps_per_update),
        "kl_coeff": kl_coeff,
        **stats.row(),
    }
    return {name: value for name, value in row.items() if config.critic != "none" or name not in _ABOUT_VALUES}


def correlation(first: Tensor, second: Tensor) -> float:
    """Pearson's correlation of two `[B]` tensors, 0 if one of them is constant."""
    both = torch.stack([first.float(), second.float()])
    both = both - both.mean(1, keepdim=True)
    spread = both.norm(dim=1).prod()
    return float(both.prod(0).sum() / spread) if spread > 0 else 0.0


def length_binned_gain(now: LengthsAndScores, before: LengthsAndScores) -> float:
    """Gain in scores over `before` among answers of similar length (arXiv:2310.03716, section 3).

    Lengths are binned at the quartiles of `before`. The gain of a bin is the difference of mean scores. Bins are
    weighted by their answers now, and those that were empty before are left out. An overall gain that vanishes within
    bins is a gain in length.
    """
    edges = torch.tensor(before.lengths, dtype=torch.float32).quantile(torch.linspace(0, 1, _LENGTH_BINS + 1)[1:-1])
    bins_now, bins_before = (
        torch.bucketize(torch.tensor(one.lengths, dtype=torch.float32), edges) for one in (now, before)
    )
    scores_now, scores_before = (torch.tensor(one.scores, dtype=torch.float32) for one in (now, before))
    total, count = 0.0, 0
    for number in range(_LENGTH_BINS):
        here, then = scores_now[bins_now == number], scores_before[bins_before == number]
        if len(here) and len(then):
            total += len(here) * float(here.mean() - then.mean())
            count += len(here)
    return total / count if count else 0.0


def sampler_strays(log: Sequence[Row]) -> bool:
    """Whether in both of the last two updates the sampler was further from the policy than an average update moves it.

    The KL of small, normally distributed differences of log-probabilities is half their mean square: pi / 4 times the
    squared mean of their absolute values, `sampler_gap`. `approx_kl` is measured before each optimizer step, so an
    update of a single step does not know how far it moves the policy.
    """
    moves = [row["approx_kl"] for row in log if row["optimizer_steps"] > 1 and row["approx_kl"] > 0]
    if len(log) < 2 or not moves:
        return False
    return all(math.pi / 4 * row["sampler_gap"] ** 2 > sum(moves) / len(moves) for row in log[-2:])


@contextmanager
def event_log(folder: str, done: Sequence[Row]) -> Iterator[Callable[[Row], None]]:
    """Yields a function that writes a row as TensorBoard scalars by update; it does nothing if `folder` is ''.

    Args:
        folder: Local path or gs:// URI of the TensorBoard logs.
        done: Rows of a resumed run. They are written again, as the folder may be another one, and TensorBoard hides
            what the killed run wrote to this one.
    """
    if not folder:
        yield lambda row: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(folder, purge_step=1) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name != "update":
                    writer.add_scalar(f"ppo/{name}", value, row["update"])
            writer.flush()

        for row in done:
            write(row)
        yield write
