"""Encrypted, deduplicated snapshots in one storage: chunks, manifests, commits, keys, checks."""
