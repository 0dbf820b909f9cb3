"""Kuro proxy: a request for `model: "auto"` is classified, planned, dispatched, relayed and recorded."""

__version__ = "0.1.0"
