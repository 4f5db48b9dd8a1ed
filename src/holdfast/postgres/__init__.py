"""The PostgreSQL engine: reading a source, writing a target, and the tools for both."""
