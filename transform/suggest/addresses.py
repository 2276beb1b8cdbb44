"""Which parts of addresses in one table belong together: those whose names begin alike, ``billing_city`` and
``billing_zip``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from capture.model import ColumnName, TableName
from transform.masks.base import MASKS
from transform.suggest.names import tokens
from transform.suggest.writing import Suggestion

_PARTS: Final = frozenset(
    """address addr street city town zip postal post code postcode postalcode zipcode region state province country
    line lat lon lng latitude longitude adresse strasse plz ort ville calle direccion endereco cidade number name
    locality suburb house addressline district""".split()
)


def group_addresses(found: Mapping[ColumnName, Suggestion]) -> dict[ColumnName, Suggestion]:
    """The same suggestions, with a group at the parts of addresses where a table has several."""
    groups: dict[TableName, dict[ColumnName, str]] = defaultdict(dict)
    for column, suggestion in found.items():
        name = suggestion.rule
        if isinstance(name, str) and name.startswith("address") and "group" in MASKS[name].params.model_fields:
            words = (word for word in tokens(column.column) if word not in _PARTS and not word.isdigit())
            groups[column.table][column] = "_".join(words)
    result = dict(found)
    for columns in groups.values():
        if len(set(columns.values())) > 1:
            for column, group in columns.items():
                if group:
                    rule = {"mask": result[column].rule, "group": group}
                    others = (result[column].rule, *result[column].others)
                    result[column] = replace(result[column], rule=rule, others=others)
    return result
