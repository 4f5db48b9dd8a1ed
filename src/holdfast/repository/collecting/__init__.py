"""Collection: what nobody can name any more is found twice, a grace apart, and then deleted.

survey → decision → sweep: read the registers in the one order that is safe, decide purely, then do.
"""
