"""Networks, and how they become denoisers: this library's, published ones, and your own.

A ``Network`` says by its ``target`` what its data are and what it gives of them; ``from_module``
makes one of any Flax NNX module. ``hm.fit`` trains it.
"""

from hiermodel.networks.learned import LearnedDenoiser, Losses, learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.modules import from_module
from hiermodel.networks.network import Network, Target
from hiermodel.networks.published import (
    load_torch_checkpoint,
    transformer_from_state_dict,
    transformer_to_state_dict,
)
from hiermodel.networks.targets import PixelNoise, SymbolLogits
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.networks.unet import UNetConfig

__all__ = [
    "LearnedDenoiser",
    "Losses",
    "MLPConfig",
    "Network",
    "PixelNoise",
    "SymbolLogits",
    "Target",
    "TransformerConfig",
    "TreeUNetConfig",
    "UNetConfig",
    "from_module",
    "learned_denoiser",
    "load_torch_checkpoint",
    "transformer_from_state_dict",
    "transformer_to_state_dict",
]
