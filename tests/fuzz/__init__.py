"""Fuzz tests with thousands of random inputs: each gets the right answer or is refused in one sentence."""
