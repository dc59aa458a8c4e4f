"""Readers of file formats: each reads the header, sets a bound, checks, then decodes."""
