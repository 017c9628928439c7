"""Studies that come with the project; each module defines ``STUDY``."""
