"""Measurements behind the numbers in the documentation: ratios of one run, because machines are noisy."""
