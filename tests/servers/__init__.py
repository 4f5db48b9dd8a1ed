"""Servers for tests: each module starts one on a free loopback port, and ends it by its process id."""
