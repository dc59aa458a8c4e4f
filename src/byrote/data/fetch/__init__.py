"""Acquisition: where the files of a data set come from, and everything `byrote data get` can fetch."""
