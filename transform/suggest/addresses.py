"""Which parts of addresses in one table belong together: those whose names begin alike, ``billing_city`` and
``billing_zip``. Where ``billing_country`` is kept, their locale is that of the country which it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from capture.model import Catalog, ColumnName, TableName
from transform.masks.base import MASKS, TEXT
from transform.masks.locales import find
from transform.rules import KEEP
from transform.suggest.names import tokens
from transform.suggest.writing import Suggestion

_PARTS: Final = frozenset(
    """address addr street city town zip postal post code postcode postalcode zipcode region state province country
    line lat lon lng latitude longitude adresse strasse plz ort ville calle direccion endereco cidade number name
    locality suburb house addressline district""".split()
)

# Names of what is more than a street.
_WHOLE: Final = frozenset("full whole complete formatted entire".split())
_COUNTRY: Final = frozenset("country land pais pays paese kuni".split())
_NEUTRAL: Final = _PARTS | _COUNTRY | _WHOLE
# The share of a country column's values that must be countries whose locales are known.
_KNOWN: Final = 0.5


def group_addresses(found: Mapping[ColumnName, Suggestion]) -> dict[ColumnName, Suggestion]:
    """The same suggestions, with a group at the parts of addresses where a table has several. An address beside its own
    town or postcode is a street."""
    found = dict(_streets(found))
    groups: dict[TableName, dict[ColumnName, str]] = defaultdict(dict)
    for column, suggestion in found.items():
        if _is_part(suggestion):
            groups[column.table][column] = _whose(column)
    result = dict(found)
    for columns in groups.values():
        if len(set(columns.values())) > 1:
            for column, group in columns.items():
                if group:
                    rule = {"mask": result[column].rule, "group": group}
                    others = (result[column].rule, *result[column].others)
                    result[column] = replace(result[column], rule=rule, others=others)
    return result


def _streets(found: Mapping[ColumnName, Suggestion]) -> Iterator[tuple[ColumnName, Suggestion]]:
    divided = {
        (column.table, _whose(column))
        for column, suggestion in found.items()
        if suggestion.rule in ("address.city", "address.postcode")
    }
    for column, suggestion in found.items():
        words = tokens(column.column)
        is_street = (column.table, _whose(column)) in divided and not _WHOLE & set(words)
        if suggestion.rule == "address.full" and is_street:
            others = (suggestion.rule, *suggestion.others)
            yield column, replace(suggestion, rule="address.street", others=others)
        else:
            yield column, suggestion


def locate_addresses(
    found: Mapping[ColumnName, Suggestion], catalog: Catalog, samples: Mapping[ColumnName, Sequence[bytes]]
) -> dict[ColumnName, Suggestion]:
    """The same suggestions, with the locale of the row's country at the parts of its address."""
    result = dict(found)
    countries: dict[TableName, dict[str, tuple[str, str]]] = {}
    for column, suggestion in found.items():
        if not _is_part(suggestion):
            continue
        if column.table not in countries:
            countries[column.table] = dict(_countries(catalog, column.table, found, samples))
        if country := countries[column.table].get(_whose(column)):
            name, evidence = country
            rule = {"mask": suggestion.rule} if isinstance(suggestion.rule, str) else suggestion.rule
            result[column] = replace(
                suggestion,
                rule={**rule, "locale": {"column": name}},
                evidence=f"{suggestion.evidence}; {evidence}".removeprefix("; "),
                others=(suggestion.rule, *suggestion.others),
            )
    return result


def _countries(
    catalog: Catalog,
    table: TableName,
    found: Mapping[ColumnName, Suggestion],
    samples: Mapping[ColumnName, Sequence[bytes]],
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Whose country which column of a table holds, and the evidence."""
    for shape in catalog.tables[table].copied_columns:
        column = ColumnName(table, shape.name)
        suggestion, values = found.get(column), samples.get(column, ())
        if suggestion is None or suggestion.rule != KEEP or shape.is_array or shape.base_type not in TEXT:
            continue
        known = sum(find(value.decode(errors="replace")) is not None for value in values)
        if _COUNTRY & set(tokens(shape.name)) and values and known >= _KNOWN * len(values):
            yield _whose(column), (shape.name, f"countries: {known}/{len(values)}")


def _is_part(suggestion: Suggestion) -> bool:
    rule = suggestion.rule
    name = rule if isinstance(rule, str) else rule["mask"]
    return name.startswith("address") and "group" in MASKS[name].params.model_fields


def _whose(column: ColumnName) -> str:
    """What the name says of whose address it is: ``billing``; '' for nothing."""
    return "_".join(word for word in tokens(column.column) if word not in _NEUTRAL and not word.isdigit())
