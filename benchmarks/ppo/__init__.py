"""PPO of preflow against TRL, on the same prompts with the same models."""
