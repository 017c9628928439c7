"""What the families of theory measure: exact inference on realisations of grammars, networks."""
