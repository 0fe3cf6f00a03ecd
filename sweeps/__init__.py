"""Hyper-parameter sweeps over the pipelines."""
