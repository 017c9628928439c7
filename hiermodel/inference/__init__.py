"""What is knowable about a tree from its leaves."""
