"""Noise, the oracles that remove it, and samplers."""
