"""Where pipelines run: the `preflow` command, resolving parameters, the local run, and finished runs."""
