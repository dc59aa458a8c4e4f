"""Fetching: the sources of a data set's files, and the list of all data sets that can be fetched."""
