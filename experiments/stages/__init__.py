"""How a trained run is measured: a file per stage, and what stages are made with."""
