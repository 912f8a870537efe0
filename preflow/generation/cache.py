"""A key/value cache that grows by blocks: a decoding step writes one token in place and copies nothing.

Keys and values are returned with the unused rest of the last block, which the mask hides: a batched matrix product
gains more from contiguous tensors than it loses to a few more columns.
"""

from typing import Any

from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_BLOCK = 32


def block_cache(model: Any) -> DynamicCache:
    """An empty cache for a causal language model.

    Full attention layers grow by blocks. Sliding windows, and all layers of a model that takes the last key for the
    newest token, are left as transformers makes them.
    """
    cache = DynamicCache(config=model.config)
    make: Any = _BlockLayer
    if _reads_masks(model):
        cache.layers = [make() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _reads_masks(model: Any) -> bool:
    """Whether a model knows the places of keys from masks, as it must for the fixed-size cache of transformers.

    Models that make masks themselves (GPT-Neo) or take distances from the end (ALiBi) do not.
    """
    alibi = getattr(model.config, "alibi", model.config.model_type == "bloom")
    return model._can_compile_fullgraph and not alibi


class _BlockLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values `[B, K, R, D]`, of which the first `_length` of R positions are filled; the others are 0."""

    keys: Tensor
    values: Tensor
    _length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends new tokens."""
        room, _offset = self.get_mask_sizes(key_states.shape[-2])
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        if room > self.keys.shape[-2]:
            self.keys, self.values = (_with_room(states, room) for states in (self.keys, self.values))
        end = self._length + key_states.shape[-2]
        self.keys[:, :, self._length : end] = key_states
        self.values[:, :, self._length : end] = value_states
        self._length = end
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The number of positions after the next `query_length` tokens, and the index of the first one."""
        return -(-(self._length + query_length) // _BLOCK) * _BLOCK, 0

    def get_seq_length(self) -> int:
        """The number of filled positions."""
        return self._length


def _with_room(states: Tensor, room: int) -> Tensor:
    return nn.functional.pad(states, (0, 0, 0, room - states.shape[-2]))
