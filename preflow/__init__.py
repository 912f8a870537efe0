"""preflow: RLHF as a Kubeflow pipeline. This package is the library: everything a step does, and no KFP."""

__version__ = "0.1.0"
