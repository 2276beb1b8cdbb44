"""Composition root: settings, the CLI, and the operations that join capture, transform and sink."""
