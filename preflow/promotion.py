"""Whether a tuned policy is good enough to be the next one."""


def decide_promotion(*, win_rate_low: float, kl: float, min_win_rate: float, max_kl: float) -> tuple[bool, str]:
    """Promotes a policy that surely wins often enough and stayed close enough to its base.

    Args:
        win_rate_low: Lower end of the win rate's interval, 0 to 1.
        kl: Divergence from the base, in nats per answer.
        min_win_rate: What `win_rate_low` must exceed.
        max_kl: What `kl` may not exceed.

    Returns:
        Whether it is promoted, and the reason as a sentence with the numbers. A number that is not a number fails.
    """
    wins, close = win_rate_low > min_win_rate, kl <= max_kl
    low, least = f"{win_rate_low:.1%}", f"{min_win_rate:.1%}"
    win = f"the win rate is {'surely' if wins else 'not surely'} above {least} (its lower end is {low})"
    near = f"the divergence of {kl:.2f} nats per answer is {'within' if close else 'not within'} {max_kl:g}"
    promoted = wins and close
    joined = "and" if wins == close else "but"
    return promoted, f"{'Promoted' if promoted else 'Not promoted'}: {win}, {joined} {near}."
