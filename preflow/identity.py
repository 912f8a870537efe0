"""Ids of prompts and generations, digests of files and settings, and the split of a prompt.

These are pure functions of their arguments, so that the same work has the same id on every machine.
"""

import hashlib
import json
import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from preflow.rows import Message, PromptText, Split

_GENERATIONS = uuid.UUID("6f4f0a6e-3f0d-5b6b-9a53-0f5c6a0c7a11")
_TRAIN_SHARE, _HELD_OUT_SHARE = 0.60, 0.25


def as_messages(prompt: PromptText) -> list[Message]:
    """Returns a prompt as a list of turns: a plain string is one user turn."""
    return [Message(role="user", content=prompt)] if isinstance(prompt, str) else list(prompt)


def with_instruction(prompt: PromptText, instruction: str) -> PromptText:
    """Puts `instruction` before a prompt as its system turn, unless it is empty or the prompt has a system turn."""
    messages = as_messages(prompt)
    if not instruction or messages[0]["role"] == "system":
        return prompt
    return [Message(role="system", content=instruction), *messages]


def prompt_id(prompt: PromptText) -> str:
    """The id of a prompt: 32 hex digits over its turns, whatever their row and Unicode form and outer whitespace."""
    turns = [[turn["role"], normalise(turn["content"])] for turn in as_messages(prompt)]
    return digest_json(turns)


def normalise(text: str) -> str:
    """Normalises text for comparison: Unicode NFC, Unix line endings, no outer whitespace."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()


def generation_id(prompt: str, model_digest: str, sampling: Mapping[str, Any], sample: int) -> str:
    """The id of a generation: UUIDv5 over prompt id, model digest, sampling settings and sample number."""
    name = json.dumps([prompt, model_digest, sampling, sample], sort_keys=True, separators=(",", ":"))
    return str(uuid.uuid5(_GENERATIONS, name))


def split_of(prompt: str, eval_ids: Collection[str] = ()) -> Split:
    """The split of a prompt: test if the run judges with it, else train (60 % of ids) or validation by its id alone.

    New data never moves a prompt between train and validation, and it is in the same one of them in every dataset.

    Args:
        prompt: The id of a prompt.
        eval_ids: Ids of the prompts that the run judges with.
    """
    if prompt in eval_ids:
        return "test"
    return "train" if _position(prompt) < _TRAIN_SHARE else "validation"


def is_held_out(prompt: str) -> bool:
    """Whether a prompt is in the quarter of ids that a run without an evaluation dataset judges with; none is train."""
    return _position(prompt) >= 1 - _HELD_OUT_SHARE


def _position(prompt: str) -> float:
    """Where a prompt's id stands in [0, 1), at random but always in the same place."""
    return int(hashlib.sha256(f"split:{prompt}".encode()).hexdigest()[:8], 16) / 0x1_0000_0000


def digest_json(value: Any) -> str:
    """32 hex digits over a JSON value; the order of keys does not matter."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def digest_bytes(data: bytes) -> str:
    """32 hex digits over bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def digest_files(paths: Sequence[Path], root: Path) -> str:
    """32 hex digits over the names (relative to `root`) and contents of files, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return total.hexdigest()[:32]
