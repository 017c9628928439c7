"""Families of predictions beside exact numbers: every file here that has a ``FAMILY`` is one."""
