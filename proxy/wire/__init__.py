"""Bytes <-> values: what callers and upstreams write on the wire."""
