"""Models of the protocol: every interleaving of a small one, random ones of the real code."""
