"""One page on one run: what evaluation cards say, and how they are filled in."""
