"""Data worlds, a file for each: ``world`` says what all of them answer."""
