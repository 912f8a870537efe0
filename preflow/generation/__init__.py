"""Sampling from a policy, and the log of what it answered."""
