"""The version of titans-seq, in one place."""

__version__ = "0.1.0"
