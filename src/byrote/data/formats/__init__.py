"""Readers of file formats: each reads and checks the header, limits the memory, and then decodes."""
