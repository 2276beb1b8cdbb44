"""A function for the mask ``custom``, as a user might write it."""

from __future__ import annotations

from transform.masks.custom import Keyed


def backwards(values: list[str | None], keyed: Keyed) -> list[str | None]:
    """The last letter first."""
    return [value and value[::-1] for value in values]


def same(values: list[str | None], keyed: Keyed) -> list[str | None]:
    """What it was: nothing is masked."""
    return values
