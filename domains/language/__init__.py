"""Language: recall tasks, and the networks that answer them."""
