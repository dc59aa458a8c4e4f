"""Readers of file formats: each reads the header, checks it, bounds the memory, then decodes."""
