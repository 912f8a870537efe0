"""The frozen part of a transformer, which only the sampler runs.

With adapters on the upper layers only, the states after the lower ones never change. Sampling works them out anyway;
policy, reference and value head all continue from them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preflow.ppo.prefix_packing import Packs, run_transformer, unpacked

_TOLERANCE = 1e-2


class Trunk:
    """A transformer without its head, cut into frozen lower layers and upper layers.

    The model's own forward runs both parts, with the layers of the other part taken out meanwhile, so masks and
    positions remain the model's business. A model that changes its input embeddings (scales them, adds positions) would
    do so twice. Comparing both ways at the start detects such a model, and it is not cut.
    """

    def __init__(self, causal_lm: Any, frozen_layers: int) -> None:
        """Cuts below layer `frozen_layers`; not at all if that is 0 or would change the model's output."""
        self._model = getattr(causal_lm, causal_lm.base_model_prefix)
        self.frozen_layers = frozen_layers if self._can_cut(frozen_layers) else 0

    @torch.no_grad()
    def lower(self, ids: Tensor, packs: Packs) -> Tensor | None:
        """`[B, P + T, H]` states after the frozen layers for `[B, P + T]` tokens; None if the model is not cut.

        The sampler gives the same.
        """
        if not self.frozen_layers:
            return None
        with self._only(slice(0, self.frozen_layers), nn.Identity()):
            states = run_transformer(self._model, packs, input_ids=ids.flatten()[packs.tokens])
        return states.flatten(0, 1)[packs.slots]

    def upper(self, ids: Tensor, hidden: Tensor | None, packs: Packs) -> Tensor:
        """`[R, L, H]` last hidden states, computed from the frozen layers' states, or from the tokens if None."""
        if hidden is None:
            return run_transformer(self._model, packs, input_ids=ids.flatten()[packs.tokens])
        with self._only(slice(self.frozen_layers, None), self._model.norm):
            return run_transformer(self._model, packs, inputs_embeds=hidden.flatten(0, 1)[packs.tokens])

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
        # A model takes the mask of layer i from `layer_types[i]`, and its upper layers alone would count from 0 again.
        # The trial below cannot see that, because all of its tokens fit into a sliding window.
        if len(set(getattr(self._model.config, "layer_types", None) or [""])) > 1:
            return False
        self.frozen_layers = frozen_layers
        ids = torch.arange(8, device=self._model.device)[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        packs = unpacked(ids, mask[:, :1], mask[:, 1:]).packs
        whole, cut = (
            self.upper(ids, hidden, packs).flatten(0, 1)[packs.slots].float()
            for hidden in (None, self.lower(ids, packs))
        )
        return bool((whole - cut).abs().max() <= _TOLERANCE * whole.abs().max())
