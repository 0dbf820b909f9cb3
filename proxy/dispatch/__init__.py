"""Calls upstreams: circuits, connections, retries, the walk along the plan."""
