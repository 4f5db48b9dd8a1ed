"""Checks without a server: whether what is stored is whole, and what to call it when it is not."""
