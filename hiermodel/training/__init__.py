"""Training: ensembles of networks over splits and seeds, and their checkpoints."""
