"""Kernels in C++, and their loader."""
