"""Holdfast: backup and disaster recovery for PostgreSQL databases one does not administer."""

__version__ = "0.1.0"
