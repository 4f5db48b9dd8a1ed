"""Values and pure decisions: the standard library only, no clock, no input or output."""
