"""promote: is the tuned policy good enough to be the next one?"""

from typing import NamedTuple

from kfp.dsl import component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def promote(
    win_rate_low: float,
    kl: float,
    min_win_rate: float,
    max_kl: float,
    code_version: str,
) -> NamedTuple("Promotion", [("promoted", bool), ("reason", str)]):
    """Decides about promotion, and says why.

    Args:
        win_rate_low: Lower end of the win rate's interval.
        kl: Divergence from the base, in nats per answer.
        min_win_rate: What `win_rate_low` must exceed.
        max_kl: What `kl` may not exceed.
        code_version: Digest of this step's code; only in the cache key.

    Returns:
        Whether the policy is promoted, and the reason in words.
    """
    from preflow.promotion import PromotionConfig, promote

    return promote(win_rate_low=win_rate_low, kl=kl, config=PromotionConfig.of(locals()))
