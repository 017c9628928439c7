"""Noise, the oracles that remove it, and samplers (science.md#diffusion).

``Process`` says what noise is, ``Denoiser`` what removes it; whatever meets one of them works with
all that takes one.
"""

from hiermodel.diffusion.any_order import sample_any_order
from hiermodel.diffusion.averaged import averaged_denoiser
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoiser import Denoiser, DenoiserError, MeanDenoiser
from hiermodel.diffusion.denoisers import (
    empirical_denoiser,
    exact_denoiser,
    independent_denoiser,
)
from hiermodel.diffusion.deterministic import sample_ddim, sample_ode
from hiermodel.diffusion.discrete import DiscreteProcess
from hiermodel.diffusion.host import host_denoiser
from hiermodel.diffusion.image_filters import haar_filter, pca_filter
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.diffusion.process import Process
from hiermodel.diffusion.samplers import sample_ancestral, u_turn
from hiermodel.diffusion.schedule import Schedule
from hiermodel.diffusion.score import log_density, score

__all__ = [
    "Denoiser",
    "DenoiserError",
    "DiscreteProcess",
    "MeanDenoiser",
    "Process",
    "Schedule",
    "add_noise",
    "averaged_denoiser",
    "empirical_denoiser",
    "empirical_pixel_denoiser",
    "exact_denoiser",
    "gaussian_pixel_denoiser",
    "haar_filter",
    "host_denoiser",
    "independent_denoiser",
    "log_density",
    "one_hot",
    "pca_filter",
    "sample_ancestral",
    "sample_any_order",
    "sample_ddim",
    "sample_ode",
    "score",
    "u_turn",
]
