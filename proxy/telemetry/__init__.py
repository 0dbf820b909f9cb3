"""Where records go: logs, metrics, traces."""
