"""PPO of preflow against the last PPOTrainer of TRL, on the same prompts with the same models."""
