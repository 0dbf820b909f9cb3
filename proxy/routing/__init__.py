"""Decides which model answers; never calls anyone."""
