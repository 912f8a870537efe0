"""Sample answers from the policy into the log, each exactly once, and write them out as rows."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from preflow import store
from preflow.generation.batches import Batch, sample_batches, uniforms_of
from preflow.generation.config import GenerationConfig
from preflow.generation.prepacked_linear import pack_linear_layers
from preflow.generation.sampler import decode
from preflow.identity import generation_id
from preflow.models import load_causal_lm, load_tokenizer, model_digest
from preflow.rows import Generation, Prompt, read_rows, write_rows
from preflow.settings import require


class Job(NamedTuple):
    """One answer to sample: its identity, prompt and sample number."""

    generation_id: str
    prompt: Prompt
    sample: int


def log_generations(
    *,
    prompts: Path,
    model: str,
    database_url: str,
    output: Path,
    config: GenerationConfig,
) -> dict[str, Any]:
    """Samples answers to prompts into `llm_logs` and writes the same rows to `output`.

    The ids of the answers follow from prompt, model, sampling settings and sample number. Answers that are in the log
    are not sampled again; missing ones are sampled, and committed batch by batch. The artifact is then selected from
    the database, so that artifact and log never differ, however often the step was killed before.

    Args:
        prompts: File of prompt rows.
        model: Reference of the policy.
        database_url: DSN of the database with the log.
        output: File of generation rows to write.
        config: Settings. Another seed gives other answers, with other ids.

    Returns:
        Counts, the share of answers that the model ended itself, and the tokens per second of this call's sampling.

    Raises:
        PreflowError: The input is invalid, or the database is unreachable.
    """
    known_prompts = sorted(read_rows(prompts, Prompt), key=lambda row: row.prompt_id)
    train, validation = ([row for row in known_prompts if row.split == split] for split in ("train", "validation"))
    taken = train[: config.num_prompts or None] + validation[: config.num_validation_prompts or None]
    require(
        config.num_shards <= len(taken), "num_shards", config.num_shards, f"must be at most the {len(taken)} prompts"
    )
    rows = taken[config.shard :: config.num_shards]
    digest = model_digest(model)
    steps = config.target_sequence_length
    sampling = {"temperature": config.temperature, "max_new_tokens": steps, "seed": config.seed}
    jobs = [
        Job(generation_id(row.prompt_id, digest, sampling, number), row, number)
        for row in rows
        for number in range(config.num_samples)
    ]
    ids = [job.generation_id for job in jobs]
    with store.connect(database_url) as connection:
        known = store.existing_generation_ids(connection, ids)
        missing = [job for job in jobs if job.generation_id not in known]
        started = time.monotonic()
        sampled = 0
        if missing:
            tokenizer, policy = load_tokenizer(model), load_causal_lm(model)
            pack_linear_layers(policy)
            started = time.monotonic()
            for batch in sample_batches(
                policy,
                tokenizer,
                [job.prompt for job in missing],
                uniforms=lambda rows: torch.stack([uniforms_of(missing[row].generation_id, steps) for row in rows]),
                temperatures=[config.temperature] * len(missing),
                batch_size=config.batch_size,
                label="answers sampled",
            ):
                answers = _generations(
                    batch, missing, tokenizer, model_name=model, model_digest=digest, sampling=sampling
                )
                store.insert_generations(connection, answers)
                sampled += sum(answer.completion_tokens for answer in answers)
        seconds = time.monotonic() - started
        logged = store.select_generations(connection, ids)
    write_rows(output, logged)
    return {
        "generations": len(logged),
        "prompts": len(rows),
        "sampled_now": len(missing),
        "tokens_per_second": round(sampled / seconds, 1) if sampled else 0.0,
        "eos_rate": sum(row.finish_reason == "stop" for row in logged) / len(logged),
        "model_digest": digest,
    }


def _generations(batch: Batch, jobs: Sequence[Job], tokenizer: Any, **origin: Any) -> list[Generation]:
    """The rows of a batch; `origin` is what they have in common."""
    samples = batch.samples
    counts = samples.prompt_mask.sum(1).tolist(), samples.lengths.tolist()
    columns = ([jobs[row] for row in batch.rows], decode(samples, tokenizer), *counts, samples.stopped.tolist())
    return [
        Generation(
            generation_id=job.generation_id,
            prompt_id=job.prompt.prompt_id,
            prompt=job.prompt.prompt,
            sample=job.sample,
            response=response,
            prompt_tokens=prompt_tokens,
            completion_tokens=tokens,
            generation_time=batch.seconds / len(batch.rows),
            finish_reason="stop" if stopped else "length",
            **origin,
        )
        for job, response, prompt_tokens, tokens, stopped in zip(*columns, strict=True)
    ]
