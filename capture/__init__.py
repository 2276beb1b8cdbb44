"""The production side: the only package that opens a connection to production."""
