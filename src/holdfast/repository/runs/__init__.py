"""Runs: who writes, who was before, what is relied upon, and what need not be stored again."""
