"""Versioned checkpoints, and what they say of themselves."""
