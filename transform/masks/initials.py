"""An example of a function for the mask ``custom``; nothing else uses it."""

from __future__ import annotations

from transform.masks.custom import Keyed


def initials(values: list[str | None], keyed: Keyed) -> list[str | None]:
    """The first letters of a name's words, and two digits."""
    return [
        value and "".join(word[0] for word in value.split()) + f"{keyed.tag(value)[0] % 100:02d}" for value in values
    ]
