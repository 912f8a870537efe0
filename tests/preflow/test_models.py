"""Models are found by name or folder, known by their content, and put right when they are loaded."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow import models
from preflow.chat import encode_prompt
from preflow.errors import PreflowError
from preflow.models import (
    adapter_base,
    eos_ids,
    load_backbone,
    load_causal_lm,
    load_encoder,
    load_tokenizer,
    model_digest,
    resolve_model,
)
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from tests.tiny import bare_tokenizer, save_other, save_policy

pytestmark = pytest.mark.usefixtures("exact")
IDS = torch.tensor([[1, 40, 41, 42, 2, 43, 44]])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def changed_adapter(reference: str, folder: Path) -> Policy:
    """Puts an adapter that changes something on a model, and saves it."""
    policy = Policy(reference, PPOConfig(lora_rank=2, lora_layers=0))
    generator = torch.Generator().manual_seed(5)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    policy.save(folder)
    return policy


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(input_ids=IDS).logits
    return found


def test_padding_is_never_the_end_of_a_response(policy_folder: Path) -> None:
    settings = json.loads((policy_folder / "tokenizer_config.json").read_text())
    assert settings["pad_token"] == settings["eos_token"] == "<|im_end|>"
    tokenizer = load_tokenizer(str(policy_folder))
    assert type(tokenizer).__name__ == "TokenizersBackend", "what SmolLM2's tokenizer loads as"
    assert (tokenizer.pad_token, tokenizer.pad_token_id, tokenizer.eos_token_id) == ("<|endoftext|>", 0, 2)
    assert tokenizer.padding_side == "right"
    assert encode_prompt(tokenizer, "Hi")[0] == 1


def test_a_padding_token_that_is_fine_stays(encoder_folder: Path) -> None:
    assert load_tokenizer(str(encoder_folder)).pad_token == "[PAD]"


def test_a_special_token_without_a_name_pads(policy_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(policy_folder, tmp_path / "bare"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "unk_token": "<|im_end|>", "bos_token": "<|im_end|>"})
    )
    tokenizer = load_tokenizer(str(folder))
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_padding_is_never_a_token_that_text_has(tmp_path: Path) -> None:
    bare_tokenizer().save_pretrained(tmp_path / "bare")
    tokenizer = load_tokenizer(str(tmp_path / "bare"))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id, "the only special token"
    tokenizer.save_pretrained(tmp_path / "again")
    again = load_tokenizer(str(tmp_path / "again"))
    text = "".join(map(chr, range(32, 127)))
    assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == text


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(tmp_path: Path) -> None:
    tokenizer = bare_tokenizer()
    tokenizer.unk_token = tokenizer.bos_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**stored, "added_tokens": []}))
    with pytest.raises(PreflowError, match="no special token to pad with; set `pad_token` in tokenizer_config.json"):
        load_tokenizer(str(tmp_path))


def test_every_token_that_ends_a_response_is_known(policy_folder: Path) -> None:
    model, tokenizer = load_causal_lm(str(policy_folder)), load_tokenizer(str(policy_folder))
    assert eos_ids(model, tokenizer) == [2]
    model.generation_config.eos_token_id = [7, 2]
    assert eos_ids(model, tokenizer) == [2, 7]
    model.generation_config.eos_token_id = None
    assert eos_ids(model, tokenizer) == [2]


def test_a_digest_follows_what_is_in_the_files(policy_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(policy_folder, tmp_path / "copy"))
    digest = model_digest(str(folder))
    assert digest == model_digest(str(policy_folder)), "where it lies does not matter"
    (folder / "README.md").write_text("Read me.")
    assert model_digest(str(folder)) == digest
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Be brief.", "Be long."))
    assert model_digest(str(folder)) != digest


def test_without_a_hub_an_id_is_its_own_digest(offline: None) -> None:
    # `printf nobody/model | sha256sum`: generation ids in people's databases are made of these.
    assert model_digest("nobody/model") == "b0f82de31194bf626bf1f2315e573a45"
    assert model_digest("nobody/model@v1") == "6910210ff267da788409bee25d3bfb61"


def test_a_revision_follows_the_at_sign() -> None:
    assert resolve_model("nobody/model@v1") == ("nobody/model", "v1")
    assert resolve_model("nobody/model") == ("nobody/model", None)


@pytest.mark.parametrize("load", [load_tokenizer, load_causal_lm, load_backbone, load_encoder])
def test_a_model_that_is_not_there_is_named_in_one_line(load: Any, offline: None) -> None:
    with pytest.raises(PreflowError) as caught:
        load("nobody/no-such-model")
    text = str(caught.value)
    assert text.startswith("nobody/no-such-model: ")
    assert "local folder" in text
    assert "\n" not in text


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match=f"{tmp_path}: no model could be loaded"):
        load_causal_lm(str(tmp_path))


def test_an_adapter_is_merged_into_its_base(policy_folder: Path, tmp_path: Path) -> None:
    policy = changed_adapter(str(policy_folder), tmp_path / "tuned")
    assert adapter_base(str(tmp_path / "tuned")) == str(policy_folder)
    assert adapter_base(str(policy_folder)) is None
    tuned = load_causal_lm(str(tmp_path / "tuned"))
    torch.testing.assert_close(logits(tuned), logits(policy.model), atol=1e-4, rtol=1e-4)
    assert (logits(tuned) - logits(load_causal_lm(str(policy_folder)))).abs().max() > 0.1


def test_a_tuned_policy_may_be_tuned_again(policy_folder: Path, tmp_path: Path) -> None:
    changed_adapter(str(policy_folder), tmp_path / "once")
    load_tokenizer(str(policy_folder)).save_pretrained(tmp_path / "once")
    policy = changed_adapter(str(tmp_path / "once"), tmp_path / "twice")
    assert adapter_base(str(tmp_path / "twice")) == str(tmp_path / "once")
    torch.testing.assert_close(
        logits(load_causal_lm(str(tmp_path / "twice"))), logits(policy.model), atol=1e-4, rtol=1e-4
    )


def test_models_are_loaded_for_inference(policy_folder: Path, encoder_folder: Path) -> None:
    model = load_causal_lm(str(policy_folder), torch.bfloat16)
    assert (model.dtype, model.training) == (torch.bfloat16, False)
    backbone = load_backbone(str(encoder_folder))
    assert (backbone.dtype, backbone.training) == (torch.float32, False)


@pytest.mark.parametrize(
    ("kind", "settings"), [("mamba", {}), ("lfm2", {"layer_types": ["conv", "full_attention"] * 2})]
)
def test_a_model_with_recurrent_states_is_refused(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    save_other(tmp_path, kind, **settings)
    with pytest.raises(PreflowError, match="it keeps recurrent states, which cannot be sampled from; give a transf"):
        load_causal_lm(str(tmp_path))


def test_an_encoder_embeds(encoder_folder: Path) -> None:
    vectors = load_encoder(str(encoder_folder)).encode(["What is dew?", "Rain."], show_progress_bar=False)
    assert vectors.shape == (2, 32)


def test_a_packaged_model_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.PACKAGED_MODELS, "SmolLM2-135M-Instruct", ("no_such_package", "model.gguf"))
    with pytest.raises(
        PreflowError, match="SmolLM2-135M-Instruct: the package that carries it, no-such-package, is not"
    ):
        load_tokenizer("SmolLM2-135M-Instruct")


def test_a_packaged_file_is_unpacked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "boxed"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "weights.gguf").write_text("weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(models.PACKAGED_MODELS, "boxed", ("boxed", "weights.gguf"))
    unpacked: list[Path] = []

    def unpack(source: Path, target: Path) -> None:
        unpacked.append(source)
        target.mkdir(parents=True)

    monkeypatch.setattr(models, "_convert_gguf", unpack)
    folder, revision = resolve_model("boxed")
    assert (resolve_model("boxed"), revision) == ((folder, None), None)
    assert unpacked == [package / "weights.gguf"]
    assert Path(folder) == tmp_path / "home" / "models" / f"boxed-{model_digest('boxed')[:12]}"


@pytest.mark.parametrize(
    ("name", "package"), [(name, package) for name, (package, _) in models.PACKAGED_MODELS.items()]
)
def test_packaged_models_are_found(name: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    assert models.packaged_model(name).exists()
    assert len(model_digest(name)) == 32


def test_a_seed_makes_another_model(policy_folder: Path, tmp_path: Path) -> None:
    assert model_digest(str(save_policy(tmp_path / "other", seed=1))) != model_digest(str(policy_folder))
    assert model_digest(str(save_policy(tmp_path / "same"))) == model_digest(str(policy_folder))
