"""Rules to plan to masked columns: pure, no I/O beyond reading rules and keys."""
