"""log-generations: the policy answers the prompts; every answer goes to the generation log."""

from kfp.dsl import Dataset, Input, Output, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def log_generations(
    prompts: Input[Dataset],
    model: str,
    policy_digest: str,
    num_prompts: int,
    num_validation_prompts: int,
    num_samples: int,
    temperature: float,
    target_sequence_length: int,
    batch_size: int,
    seed: int,
    database: str,
    store_id: str,
    code_version: str,
    generations: Output[Dataset],
    shard: int = 0,
    num_shards: int = 1,
):
    """Samples answers to the first prompts and logs them; what the log already holds is read, not sampled again.

    Args:
        prompts: Prompt rows.
        model: The policy that answers.
        policy_digest: Digest of its files; only in the cache key.
        num_prompts: How many train prompts are answered.
        num_validation_prompts: How many validation prompts are answered.
        num_samples: Answers per prompt.
        temperature: Sampling temperature; 0 is greedy.
        target_sequence_length: Longest answer in tokens.
        batch_size: Answers sampled at once.
        seed: Seed of the sampling.
        database: Reference of the database; '' for DATABASE_URL.
        store_id: Identity of that database; only in the cache key.
        code_version: Digest of the library's sources; only in the cache key.
        generations: Generation rows.
        shard: Which share of the prompts this task answers.
        num_shards: How many shares there are.
    """
    from pathlib import Path

    from preflow.generation.log_generations import log_generations
    from preflow.store import database_url

    summary = log_generations(
        prompts=Path(prompts.path),
        model=model,
        database_url=database_url(database),
        output=Path(generations.path),
        num_prompts=num_prompts,
        num_validation_prompts=num_validation_prompts,
        num_samples=num_samples,
        temperature=temperature,
        target_sequence_length=target_sequence_length,
        seed=seed,
        batch_size=batch_size,
        shard=shard,
        num_shards=num_shards,
    )
    generations.metadata.update(summary)
