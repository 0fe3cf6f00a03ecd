"""A figure of a benchmark, as benchmarks/README.md shows it."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One row of the table."""

    what: str
    """What was measured, with its unit."""
    value: str
    """Ours."""
    beside: str
    """What stands beside it."""
