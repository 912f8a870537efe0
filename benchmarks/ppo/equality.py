"""Whether preflow's advantages, losses and gradients equal TRL's, given the same tensors.

python -m benchmarks.ppo.equality TRL_PYTHON runs one update of TRL's PPOTrainer on tiny models (`trl_equality.py`) and
prints the largest differences; the exit status is 1 if one is above 1e-5.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from preflow.ppo.algorithm import gae, k1, policy_loss, token_rewards, value_loss, whiten

_LARGEST = 1e-5


def main(trl_python: str) -> int:
    """Compares at TRL's usual lambda and at preflow's, and gives the exit status."""
    differences = {}
    with TemporaryDirectory() as scratch:
        for gamma, lam in ((0.99, 0.95), (1.0, 1.0)):
            file = Path(scratch) / "trl.safetensors"
            program = [trl_python, "-W", "ignore", "-m", "benchmarks.ppo.trl_equality"]
            subprocess.run([*program, str(file), str(gamma), str(lam)], check=True, stdout=subprocess.DEVNULL)
            found = compared(load_file(file), gamma, lam)
            differences.update({f"{name} (gamma {gamma:g}, lambda {lam:g})": value for name, value in found.items()})
    for name, value in differences.items():
        print(f"{value:.1e}  {name}")
    equal = all(value <= _LARGEST for value in differences.values())
    print(f"equal to TRL's within {_LARGEST:.0e}: {'yes' if equal else 'no'}")
    return int(not equal)


def compared(trl: dict[str, Tensor], gamma: float, lam: float) -> dict[str, float]:
    """The largest absolute differences.

    What is known to differ is taken into account: TRL whitens with the unbiased variance, and it puts the score one
    position after the last token, where its critic sees the whole answer, and counts that position in the value loss.
    With a gamma and lambda of 1 the advantages of the tokens are the same.
    """
    mask, states = ~trl["padding_mask"], ~trl["padding_mask_p1"]
    advantages, returns = gae(trl["rewards"], trl["values"], states, gamma, lam)
    count = mask.sum()
    found = {
        "advantages from rewards and values": _difference(advantages, trl["advantages"], mask),
        "returns from rewards and values": _difference(returns, trl["returns"], states),
        "whitened advantages, but for n / (n - 1)": _difference(
            whiten(trl["advantages"], mask) * ((count - 1) / count).sqrt(), trl["whitened"], mask
        ),
    }
    if gamma == lam == 1:
        kl = k1(trl["logprobs"], trl["ref_logprobs"])
        own = token_rewards(trl["scores"], kl, mask, float(trl["kl_coeff"]))
        advantages, _ = gae(own, trl["values"], mask, gamma, lam)
        found["advantages from scores, log-probabilities and values"] = _difference(advantages, trl["advantages"], mask)
    return found | _losses(trl, mask, states)


def _losses(trl: dict[str, Tensor], mask: Tensor, states: Tensor) -> dict[str, float]:
    """The differences of the losses of all optimizer steps, means over a step's tokens, and of their gradients."""
    clips = {"policy": float(trl["clip"]), "value": float(trl["value_clip"])}
    found: dict[str, float] = {}
    clipped = dict.fromkeys(clips, 0)
    for step in range(sum(name.endswith(".pg_loss") for name in trl)):
        of = {name.partition(".")[2]: value for name, value in trl.items() if name.startswith(f"{step}.")}
        now, values = of["new_logprobs"].requires_grad_(), of["vpred"].requires_grad_()
        tokens, seen = mask[of["rows"]], states[of["rows"]]
        policy = policy_loss(now, of["mb_logprobs"], of["mb_advantage"], tokens, clips["policy"])
        value = value_loss(values, of["mb_values"], of["mb_return"], seen, clips["value"])
        for name, loss, variable, counted, theirs in (
            ("policy", policy, now, tokens, "pg_loss"),
            ("value", value, values, seen, "vf_loss"),
        ):
            mean = loss.total / counted.sum()
            (gradient,) = torch.autograd.grad(mean, variable)
            clipped[name] += int(loss.clipped)
            for what, difference in {
                f"{name} loss": float((mean.detach() - of[theirs]).abs()),
                f"gradient of the {name} loss": _difference(gradient, of[f"{theirs}.gradient"], counted),
            }.items():
                found[what] = max(found.get(what, 0.0), difference)
    if not all(clipped.values()):
        raise SystemExit(f"tokens clipped in the two losses: {clipped}; with none, clipping is not compared")
    return found


def _difference(ours: Tensor, theirs: Tensor, mask: Tensor) -> float:
    return float((ours - theirs)[mask].abs().max())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
