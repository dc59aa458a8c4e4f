"""Fuzz tests: thousands of random inputs, each of which gets a right answer or is refused in one sentence."""
