"""Benchmarks: what tezcat does, each figure beside the figure of what PostgreSQL itself does, from the same run.

``python -m bench`` starts two servers of its own and needs nothing else. ``dataset`` is the table, ``servers`` the two
servers and what is run against them, ``snapshot`` and ``stream`` the benchmarks, ``measure`` clocks and statistics.
"""
