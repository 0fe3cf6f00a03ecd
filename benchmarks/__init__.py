"""Measurements of quality and speed beside peers: `python -m benchmarks NAME` from a checkout; not in the wheel."""
