"""The part of a transformer that PPO does not train, computed once a rollout instead of once a forward.

With adapters on the upper layers alone, what the lower ones say of a token never changes. Policy, reference and value
head all go on from there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preflow.ppo.episodes import alone
from preflow.ppo.lines import Lines, lay_out, run_transformer

_TOLERANCE = 1e-2


class Trunk:
    """A transformer without its head, cut into frozen lower layers and upper layers.

    The model's own forward runs both parts, with the other part's layers taken out for the moment, so that masks and
    positions stay its business. A model whose forward does something to its input embeddings (scaling, positions added
    to them) would do it twice: such a model is found out at the start by comparing, and is not cut.
    """

    def __init__(self, causal_lm: Any, frozen_layers: int) -> None:
        """Cuts below layer `frozen_layers`, or not at all where that is 0 or would change what the model says."""
        self._model = getattr(causal_lm, causal_lm.base_model_prefix)
        self.frozen_layers = frozen_layers if self._can_cut(frozen_layers) else 0

    @torch.no_grad()
    def lower(self, ids: Tensor, lines: Lines) -> Tensor | None:
        """`[B, P + T, H]` states after the frozen layers for `[B, P + T]` tokens; None where the model is not cut."""
        if not self.frozen_layers:
            return None
        with self._only(slice(0, self.frozen_layers), nn.Identity()):
            states = run_transformer(self._model, lines, input_ids=ids.flatten()[lines.tokens])
        return states.flatten(0, 1)[lines.where]

    def upper(self, ids: Tensor, hidden: Tensor | None, lines: Lines) -> Tensor:
        """`[R, L, H]` last hidden states, from those that `lower` gave, or from the tokens where it gave none."""
        if hidden is None:
            return run_transformer(self._model, lines, input_ids=ids.flatten()[lines.tokens])
        with self._only(slice(self.frozen_layers, None), self._model.norm):
            return run_transformer(self._model, lines, inputs_embeds=hidden.flatten(0, 1)[lines.tokens])

    @contextmanager
    def _only(self, layers: slice, norm: nn.Module) -> Iterator[None]:
        everything, last = self._model.layers, self._model.norm
        self._model.layers, self._model.norm = everything[layers], norm
        try:
            yield
        finally:
            self._model.layers, self._model.norm = everything, last

    @torch.no_grad()
    def _can_cut(self, frozen_layers: int) -> bool:
        if not frozen_layers or not all(
            isinstance(getattr(self._model, part, None), nn.Module) for part in ("layers", "norm")
        ):
            return False
        self.frozen_layers = frozen_layers
        ids = torch.arange(8, device=self._model.device)[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        lines = lay_out(alone(ids, mask[:, :1], mask[:, 1:]))
        whole, cut = (
            self.upper(ids, hidden, lines).flatten(0, 1)[lines.where].float()
            for hidden in (None, self.lower(ids, lines))
        )
        return bool((whole - cut).abs().max() <= _TOLERANCE * whole.abs().max())
