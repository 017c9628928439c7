"""Real images: data, settings and measuring stages, beside those of the controlled model."""
