"""Acquisition: where the files of a data set come from, and everything that can be fetched."""
