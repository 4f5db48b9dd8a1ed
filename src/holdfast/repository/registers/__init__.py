"""Registers: small sealed documents under fixed names, most of them created once, that say what happened."""
