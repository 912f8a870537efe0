"""The cache that grows by blocks holds what the one of transformers holds."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.generation.cache import block_cache
from preflow.models import load_causal_lm
from tests.tiny import save_other

pytestmark = pytest.mark.usefixtures("exact")
IDS = torch.arange(3, 3 + 2 * 70).view(2, 70) % 50 + 3


@pytest.fixture
def model(policy_folder: Path) -> Any:
    return load_causal_lm(str(policy_folder))


def read(model: Any, ids: torch.Tensor, cache: Any, seen: int) -> torch.Tensor:
    used = seen + ids.shape[1]
    logits: torch.Tensor = model(
        input_ids=ids,
        attention_mask=torch.ones(len(ids), used, dtype=torch.long),
        position_ids=torch.arange(seen, seen + ids.shape[1]).expand(len(ids), -1),
        past_key_values=cache,
        use_cache=True,
    ).logits
    return logits


@torch.no_grad()
@pytest.mark.parametrize("prompt", [5, 31, 32, 33, 64])
def test_tokens_one_by_one_say_what_a_forward_without_cache_says(model: Any, prompt: int) -> None:
    whole = model(IDS, use_cache=False).logits
    cache = block_cache(model)
    found = [read(model, IDS[:, :prompt], cache, 0)]
    found += [read(model, IDS[:, place, None], cache, place) for place in range(prompt, IDS.shape[1])]
    torch.testing.assert_close(torch.cat(found, 1), whole, atol=1e-4, rtol=1e-4)
    assert cache.get_seq_length() == IDS.shape[1]


@torch.no_grad()
def test_rows_can_be_dropped_and_repeated(model: Any) -> None:
    cache = block_cache(model)
    read(model, IDS[:, :40], cache, 0)
    cache.batch_select_indices(torch.tensor([1, 1, 0]))
    found = read(model, IDS[[1, 1, 0], 40:41], cache, 40)
    expected = model(IDS[[1, 1, 0], :41], use_cache=False).logits[:, -1:]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_other_kinds_of_layers_stay_what_they_are() -> None:
    from transformers import Gemma2Config

    config = Gemma2Config(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"])
    model = type("Model", (), {"config": config, "_can_compile_fullgraph": True})
    sliding, full = block_cache(model).layers
    assert type(sliding).__name__ == "DynamicSlidingWindowLayer"
    assert type(full).__name__ == "_BlockLayer"


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt_neo", "bloom"])
def test_a_model_that_takes_the_last_key_for_the_newest_token_gets_no_unused_keys(kind: str, tmp_path: Path) -> None:
    model = load_causal_lm(str(save_other(tmp_path, kind)))
    cache = block_cache(model)
    found = [read(model, IDS[:, :20], cache, 0)] + [
        read(model, IDS[:, place, None], cache, place) for place in (20, 21)
    ]
    torch.testing.assert_close(torch.cat(found, 1), model(IDS[:, :22], use_cache=False).logits, atol=1e-4, rtol=1e-4)
