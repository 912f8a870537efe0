"""Sampling from a policy, and the log of its answers."""
