"""End-to-end runs and the command line."""
