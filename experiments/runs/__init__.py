"""Runs: what they are trained on, their networks, and the training of these."""
