"""Keys: one keyring, wrapped in slots for passphrases and age recipients, epoch after epoch."""
