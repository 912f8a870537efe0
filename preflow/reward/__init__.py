"""The reward model: its training on pairs, its zero point, and its accuracy against simple rules."""
