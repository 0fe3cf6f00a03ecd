"""Domains: data in, encoding, head, estimator. Each uses the backbones, never another domain."""
