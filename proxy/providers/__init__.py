"""Who differs, and how: one codec per dialect, and why upstreams fail."""
