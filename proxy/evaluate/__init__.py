"""How good decisions are, measured: labelled intents, and graded outcomes of several models."""
