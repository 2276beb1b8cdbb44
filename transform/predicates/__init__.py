"""Conditions on a row's original values: SQL in, a function over columns out.

    compile_predicate("country = 'DE' AND NOT is_staff", columns) -> Predicate

What is accepted means exactly what PostgreSQL means by it, NULL included, in a session whose time zone is UTC; what
could not be (the order of texts, which hangs on a collation; functions; the present) is refused. Nothing hangs on a
clock.
"""

from transform.predicates.parsing import Predicate, compile_predicate, hold_true

__all__ = ["Predicate", "compile_predicate", "hold_true"]
