"""A function for the mask ``custom``, as a user might write it."""

from __future__ import annotations

from transform.masks.custom import Keyed


def upper(values: list[str | None], keyed: Keyed) -> list[str | None]:
    """Capitals."""
    return [value and value.upper() for value in values]
