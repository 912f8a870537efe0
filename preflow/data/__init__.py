"""Data that ships with the library: prompts of the project's own, and a sample of feedback."""
