"""What must come out: the paper's figures and claims, from settings to a report."""
