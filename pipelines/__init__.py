"""What runs: the graphs, the one table of their parameters, and their compilation to YAML."""
