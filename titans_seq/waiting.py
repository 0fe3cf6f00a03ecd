"""How long OpenMP's threads spin while they wait for each other; set before torch is loaded."""

import os

SPINS = 1000
"""Of GNU's OpenMP, whose own is 300,000: many milliseconds, of which small networks wait thousands of times where other
programs are at work on the same processor (a fit on two busy cores took more than forty times as long)."""


def limit_spinning() -> None:
    """Make threads that wait sleep soon, unless the user's environment says how they wait."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
