"""When a run ends early, and which of its policies is written."""

from collections.abc import Mapping, Sequence

from preflow.ppo.checkpoint import TrainingState, trained_weights
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout
from preflow.ppo.training_log import Row

_RECENT = 3  # updates


def reason_to_stop(log: Sequence[Row], rollout: Rollout, config: PPOConfig) -> str:
    """Why the run ends with the policy that sampled these episodes; '' if it continues.

    Means over the last three updates decide: by the few prompts of a single one, a run would end by luck. Only the KL,
    which starts at 0, may end a run earlier.

    Args:
        log: Rows of the updates before.
        rollout: Episodes of this update.
        config: Settings.
    """
    recent = log[1 - _RECENT :]
    reward = (sum(row["reward_mean"] for row in recent) + float(rollout.scores.mean())) / (len(recent) + 1)
    kl = (sum(row["kl"] for row in recent) + rollout.kl) / (len(recent) + 1)
    if config.reward_threshold is not None and len(log) + 1 >= _RECENT and reward >= config.reward_threshold:
        return f"the mean score {reward:.3f} of {_RECENT} updates reached reward_threshold {config.reward_threshold:g}"
    if config.kl_budget and kl > config.kl_budget:
        return f"the mean KL {kl:.2f} of {len(recent) + 1} updates exceeded kl_budget {config.kl_budget:g}"
    return ""


def keep_within_budget(policy: Policy, state: TrainingState, kl: float, config: PPOConfig) -> None:
    """Keeps the policy if the KL of its own episodes is within `kl_budget`, unless the best policy is kept."""
    if config.kl_budget and not config.keep_best and kl <= config.kl_budget:
        state.kept, state.kept_update = trained_weights(policy), state.updates


def keep_best(policy: Policy, state: TrainingState, found: Mapping[str, float], config: PPOConfig) -> None:
    """Keeps the policy if it is within `kl_budget` and the best so far on the validation prompts.

    The best has the highest reward less `kl_coeff` times KL, which is what PPO maximises. All policies are compared by
    the same coefficient, even if `kl_target` adapts it, and by the present standard deviation of scores.

    Args:
        policy: The policy.
        state: State of the run, with the best policy so far.
        found: Means over the validation prompts, `validation/reward` and `validation/kl`.
        config: Settings.
    """
    reward, kl = found["validation/reward"], found["validation/kl"]
    if config.kl_budget and kl > config.kl_budget:
        return
    deviation = state.statistics.deviation if config.normalize_reward else 1.0
    gain = (reward - state.best_reward) / deviation - config.kl_coeff * (kl - state.best_kl)
    if gain > 0:
        state.best_reward, state.best_kl = reward, kl
        state.kept, state.kept_update = trained_weights(policy), state.updates
