"""Attacks on what strangers hand in: hostile models, states, inputs and moments of death."""
