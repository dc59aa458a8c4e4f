"""Fuzz tests: thousands of made inputs, of which each is either answered rightly or refused in one sentence."""
