"""Models small enough to build, sample from and train within a test, and prompts for them."""

from pathlib import Path
from typing import Any

import torch

from preflow.identity import is_held_out, prompt_id, split_of
from preflow.rows import Prompt, Split

# The template of SmolLM2: without a system turn it puts in one of its own.
_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TOPICS = ("dew", "rain", "a river", "the moon", "good bread", "an old clock", "the morning train", "a bird in winter")
_QUESTIONS = ("What is {}?", "Why do people like {}?", "Tell me about {}.", "How would you draw {} for a small child?")
_SENTENCES = [question.format(topic) for topic in _TOPICS for question in _QUESTIONS]
_WORDS = ("good", "bad", "yes", "no", "water", "falls", "stands", "brightly", "it", "is", "that", "and")

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
_GROUPED = {**_SHAPE, "intermediate_size": 32, "num_key_value_heads": 2, "head_dim": 8}
OTHERS: dict[str, dict[str, Any]] = {
    # Transposed linear layers, learned positions, a tokenizer with one special token.
    "gpt2": {**_SHAPE, "n_positions": 128},
    # Attention with masks of its own, local in every other layer.
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 4, "num_heads": 4, "attention_types": [[["global", "local"], 2]],
        "window_size": 12, "max_position_embeddings": 128,
    },
    # A head with a bias.
    "gptj": {"n_embd": 32, "n_layer": 4, "n_head": 4, "rotary_dim": 4, "n_positions": 128},
    # Positions as distances from the newest token.
    "bloom": _SHAPE,
    # A sliding window in the upper layers.
    "qwen2": {**_GROUPED, "use_sliding_window": True, "sliding_window": 12, "max_window_layers": 2},
    # A sliding window in every other layer, attention sinks, experts.
    "gpt_oss": {**_GROUPED, "sliding_window": 12, "num_local_experts": 4, "num_experts_per_tok": 2},
    # Shared experts, and a first layer without any.
    "glm4_moe": {**_GROUPED, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}  # fmt: skip
"""Settings of small models that are not like Llama, by type."""


def save_policy(folder: Path, *, seed: int = 0, layers: int = 2) -> Path:
    """A Llama with random weights, and a tokenizer that names its special tokens as that of SmolLM2 does.

    Weights are large enough for attention and positions to matter, and dropout is set, so that a test notices where it
    is not turned off.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _policy_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.3,
        attention_dropout=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        # The row of the pad token starts at 0; here it is also the end, which has to come up now and then.
        model.get_input_embeddings().weight.data[2] = torch.randn(config.hidden_size) * 0.7
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_other(folder: Path, kind: str, **settings: Any) -> Path:
    """A model of any type of transformers, with random weights and its tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = bare_tokenizer() if kind == "gpt2" else _policy_tokenizer()
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), initializer_range=0.3, **OTHERS.get(kind, _GROUPED), **settings
    )
    config.bos_token_id = config.pad_token_id = None
    config.eos_token_id = tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config)
        if model.lm_head.bias is not None:
            model.lm_head.bias.data.normal_()
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A BERT with random weights and mean pooling, for `SentenceTransformer` and `AutoModel` alike."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    pieces = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    whole = sorted({word.strip(".?").lower() for text in _SENTENCES for word in text.split()} | set(_WORDS))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{piece}" for piece in pieces), *whole]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary, model_max_length=128).save_pretrained(folder)
    encoder = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(config.hidden_size, "mean")], device="cpu")
    encoder.save(str(folder))
    return folder


def questions(count: int, *, split: Split | None = None, references: bool = False) -> list[Prompt]:
    """Prompts of several lengths, all of them or those of one split."""
    found: list[Prompt] = []
    number = 0
    while len(found) < count:
        text = f"{_SENTENCES[number % len(_SENTENCES)]} {'Number ' * (number % 3)}{number}"
        name = prompt_id(text)
        reference = "It is good." if references else None
        own = "test" if is_held_out(name) else split_of(name)
        row = Prompt(prompt_id=name, prompt=text, split=own, reference=reference)
        if split in (None, row.split):
            found.append(row)
        number += 1
    return found


def bare_tokenizer() -> Any:
    """A tokenizer like that of GPT-2: one special token, which is its BOS, EOS and unknown token, and no template."""
    end = "<|endoftext|>"
    return _tokenizer([end], unk_token=end, bos_token=end, eos_token=end)


def _policy_tokenizer() -> Any:
    return _tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        unk_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=_TEMPLATE,
    )


def _tokenizer(special: list[str], **settings: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_SENTENCES, " ".join(_WORDS)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)
