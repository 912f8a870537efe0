"""The pipelines, and how to compile, launch and look at them."""
