"""Fuzz tests: thousands of random inputs; each gets a right answer or is refused in one sentence."""
