"""Acquisition: where the files of a data set come from, and everything can be fetched."""
