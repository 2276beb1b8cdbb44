"""The catalogue of masks; importing this package registers them all."""

from transform.masks import (
    address,
    basic,
    contact,
    documents,
    financial,
    ids,
    number,
    person,
    row_image,
    temporal,
    text,
)

__all__ = [
    "address",
    "basic",
    "contact",
    "documents",
    "financial",
    "ids",
    "number",
    "person",
    "row_image",
    "temporal",
    "text",
]
