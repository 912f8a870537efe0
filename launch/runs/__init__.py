"""Finished runs: their folders, summaries and comparison."""
