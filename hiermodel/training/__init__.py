"""Training: one network in memory (``fit``), or ensembles with checkpoints, by the same steps."""

from hiermodel.training.checkpoints import Checkpoints, StackedCheckpoints
from hiermodel.training.chunks import NotFiniteError
from hiermodel.training.data import FreshData, fresh
from hiermodel.training.fitting import FitProgress, fit
from hiermodel.training.in_folder import member_checkpoints, train
from hiermodel.training.loop import Member, checkpoint_epochs, train_members
from hiermodel.training.privacy import PrivacyConfig, epsilon_spent
from hiermodel.training.state import Ensemble, TrainingConfig

__all__ = [
    "Checkpoints",
    "Ensemble",
    "FitProgress",
    "FreshData",
    "Member",
    "NotFiniteError",
    "PrivacyConfig",
    "StackedCheckpoints",
    "TrainingConfig",
    "checkpoint_epochs",
    "epsilon_spent",
    "fit",
    "fresh",
    "member_checkpoints",
    "train",
    "train_members",
]
