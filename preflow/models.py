"""Load and save policies, reward models and encoders. The peculiarities of models are handled here, once.

A model reference is a packaged name (`SmolLM2-135M-Instruct`, `all-MiniLM-L6-v2`), a Hugging Face id (with an optional
`@revision`), a local folder, or a gs:// folder. Weights are safetensors only and remote code is never trusted.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from preflow.attention import use_grouped_attention
from preflow.errors import PreflowError
from preflow.home import preflow_home
from preflow.identity import digest_bytes, digest_files
from preflow.low_rank import merge_adapters
from preflow.packaged import PACKAGED_MODELS, packaged_model
from preflow.uris import fetch_folder, is_gcs
from preflow.writing import is_disk_error, reason

_LOADING = {"trust_remote_code": False, "use_safetensors": True}


def preferred_dtype() -> torch.dtype:
    """bfloat16 where the device computes it natively, float32 elsewhere."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if capable else torch.float32


def device() -> torch.device:
    """The device that models run on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> torch.autocast:
    """Matrix products in `preferred_dtype()`, whatever dtype the weights are kept in."""
    return torch.autocast(device().type, preferred_dtype(), enabled=preferred_dtype() != torch.float32)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's random state, which initialises new weights, for the block; then restores the caller's."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        torch.cuda.manual_seed(seed)  # torch.manual_seed would seed devices that are not restored
        yield


def resolve_model(reference: str) -> tuple[str, str | None]:
    """Where transformers finds a model: a local folder or hub id, and the revision if one was given.

    Raises:
        PreflowError: A packaged name whose wheel is not installed, or an empty gs:// folder.
    """
    if reference in PACKAGED_MODELS:
        return str(_packaged_folder(reference)), None
    if is_gcs(reference):
        target = preflow_home() / "models" / digest_bytes(reference.encode())
        return str(fetch_folder(reference, target)), None
    if Path(reference).is_dir():
        return reference, None
    name, _, revision = reference.partition("@")
    return name, revision or None


def model_digest(reference: str) -> str:
    """The identity of a model's weights and settings: a digest over its files, or of the hub id with its revision."""
    if reference in PACKAGED_MODELS:
        source = packaged_model(reference)
        return digest_files([source], source.parent) if source.is_file() else _folder_digest(source)
    folder, revision = resolve_model(reference)
    if Path(folder).is_dir():
        return _folder_digest(Path(folder))
    from huggingface_hub import model_info

    try:
        return digest_bytes(f"{folder}@{model_info(folder, revision=revision).sha}".encode())
    except Exception:  # without a hub, id and revision are all that is known
        return digest_bytes(reference.encode())


def load_tokenizer(reference: str) -> Any:
    """The tokenizer of a model, padded on the right, with a pad token that is not EOS where there is a choice.

    SmolLM2 names `<|im_end|>` as both: masks made from `ids != pad` then hide the end of every turn, and a policy
    trained with them never learns to stop. Its unknown token, which no text produces, pads instead; in other models it
    may be BOS, or else the special token with the lowest id.

    Where EOS is the only special token (GPT-2), it pads: all masks here are explicit. An ordinary token would do harm,
    because a pad token counts as special, and decoding would leave it out of answers.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer.from_pretrained, reference)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        listed = sorted(tokenizer.added_tokens_decoder.items())
        special = [str(token) for _, token in listed if token.special]
        others = (tokenizer.unk_token, tokenizer.bos_token, *special)
        spare = next((token for token in others if token not in (None, tokenizer.eos_token)), tokenizer.eos_token)
        if spare is None:
            raise PreflowError(
                f"{reference}: its tokenizer has no special token to pad with; set `pad_token` in tokenizer_config.json"
            )
        tokenizer.pad_token = spare
    tokenizer.padding_side = "right"
    return tokenizer


def load_causal_lm(reference: str, dtype: torch.dtype | None = None, *, merged: bool = False) -> Any:
    """A causal language model in evaluation mode, on the device, in `dtype` (default: `preferred_dtype()`).

    A folder with a LoRA adapter gives its base model with the adapter merged. In 16 bits, adapters that would be lost
    by that stay beside the weights, unless `merged` asks for plain layers.

    Raises:
        PreflowError: There is no such model, or it keeps recurrent states.
    """
    from transformers import AutoModelForCausalLM

    dtype = dtype or preferred_dtype()
    base = adapter_base(reference)
    if base is not None:
        from peft import PeftModel

        model = load_causal_lm(base, torch.float32)  # which may be an adapter on another base itself
        model = PeftModel.from_pretrained(model, resolve_model(reference)[0])
        model = model.merge_and_unload().to(dtype) if merged else merge_adapters(model, dtype)
    else:
        model = _load(AutoModelForCausalLM.from_pretrained, reference, dtype=dtype)
        _refuse_recurrent(reference, model)
    model = model.to(device()).eval()
    use_grouped_attention(model)
    return model


def adapter_base(reference: str) -> str | None:
    """The base model's reference, if `reference` is a folder with a LoRA adapter."""
    config = Path(resolve_model(reference)[0]) / "adapter_config.json"
    if not config.is_file():
        return None
    base: str = json.loads(config.read_text())["base_model_name_or_path"]
    return base


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a response, according to the tokenizer and the model's generation settings."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def load_backbone(reference: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model without a head, in `dtype` and in evaluation mode (dropout is off), on the device."""
    from transformers import AutoModel

    model = _load(AutoModel.from_pretrained, reference, dtype=dtype).to(device()).eval()
    use_grouped_attention(model)
    return model


def load_sequence_classifier(reference: str) -> Any:
    """A sequence classifier in evaluation mode, in `preferred_dtype()`, on the device, with its pad token set."""
    from transformers import AutoModelForSequenceClassification

    model = _load(AutoModelForSequenceClassification.from_pretrained, reference, dtype=preferred_dtype())
    model.config.pad_token_id = load_tokenizer(reference).pad_token_id
    return model.to(device()).eval()


def load_encoder(reference: str) -> Any:
    """A `SentenceTransformer` on the device."""
    from sentence_transformers import SentenceTransformer

    return _load(SentenceTransformer, reference, device=str(device()), use_safetensors=None)


def _refuse_recurrent(reference: str, model: Any) -> None:
    """Raises if a layer's state cannot be repeated and dropped row by row, or depends on padding."""
    from transformers import DynamicCache

    layers = DynamicCache(config=model.config).layers
    if model._is_stateful or not all(hasattr(layer, "batch_select_indices") for layer in layers):
        raise PreflowError(f"{reference}: it keeps recurrent states, which cannot be sampled from; give a transformer")


def _load(loader: Any, reference: str, **settings: Any) -> Any:
    folder, revision = resolve_model(reference)
    arguments = {**_LOADING, "revision": revision, **settings}
    try:
        return loader(folder, **{key: value for key, value in arguments.items() if value is not None})
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise PreflowError(
            f"{reference}: no model could be loaded ({first}); give a packaged name ({', '.join(PACKAGED_MODELS)}), "
            "a Hugging Face id, a local folder or a gs:// folder"
        ) from None


def _packaged_folder(name: str) -> Path:
    """A packaged model as a folder of safetensors. A GGUF is converted once and kept under `PREFLOW_HOME`."""
    source = packaged_model(name)
    if source.is_dir():
        return source
    target = preflow_home() / "models" / f"{name}-{model_digest(name)[:12]}"
    if not target.is_dir():
        _convert_gguf(source, target)
    return target


def _convert_gguf(source: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The weights are plain float32 now; the loader's notes on their origin would make it look for a GGUF again.
    model.hf_quantizer = None
    del model.config.quantization_config
    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))  # late: a kill leaves less behind
    try:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        beside.chmod(0o755)
        try:
            beside.rename(target)
        except OSError:
            if not target.is_dir():  # another process was first, and its copy is the same
                raise
    except Exception as error:
        if not is_disk_error(error):
            raise
        raise PreflowError(f"{target}: {reason(error)}; the packaged model needs 600 MB there") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _folder_digest(folder: Path) -> str:
    kept = (".safetensors", ".json", ".jinja", ".txt", ".model")
    return digest_files([path for path in folder.rglob("*") if path.is_file() and path.suffix in kept], folder)
