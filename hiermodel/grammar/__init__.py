"""What the data are: tree grammars, their samples and splits."""
