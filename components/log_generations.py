"""log-generations: the policy answers the prompts; every answer goes to the generation log."""

from kfp.dsl import Dataset, Input, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def log_generations(
    prompts: Input[Dataset],
    model: str,
    policy_digest: str,
    num_prompts: int,
    num_validation_prompts: int,
    num_samples: int,
    temperature: float,
    target_sequence_length: int,
    seed: int,
    database: str,
    store_id: str,
    code_version: str,
    generations: Output[Dataset],
) -> None:
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
        seed: Seed of the sampling.
        database: Reference of the database; '' for DATABASE_URL.
        store_id: Identity of that database; only in the cache key.
        code_version: Digest of this step's code; only in the cache key.
        generations: Generation rows.
    """
    from pathlib import Path

    from preflow.generation.config import GenerationConfig
    from preflow.generation.log_generations import log_generations
    from preflow.runtime import prepare_process
    from preflow.store import database_url

    config = GenerationConfig.of(locals())
    prepare_process()
    summary = log_generations(
        prompts=Path(prompts.path),
        model=model,
        database_url=database_url(database),
        output=Path(generations.path),
        config=config,
    )
    generations.metadata.update(scalars(summary))
