"""Learned denoisers: networks, and how they meet the Denoiser protocol."""
