"""Runs on this machine: every step in a process of its own, and what a person sees of it."""
