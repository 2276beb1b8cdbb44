"""The target side: load, apply, hold; the only package that writes to a target."""
