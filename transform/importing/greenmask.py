"""Greenmask's configuration: ``dump.transformation``, a list of tables with their transformers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from capture.model import BadInput, TableName
from transform.document import Document
from transform.importing.result import Imported, Unequal, Written

# By the transformer's name, where a mask means as much whatever its parameters are.
_PLAIN: Final[dict[str, Written]] = {
    "RandomEmail": "email",
    "RandomFirstName": "name.first",
    "RandomFirstNameFemale": "name.first",
    "RandomFirstNameMale": "name.first",
    "RandomLastName": "name.last",
    "RandomName": "name.full",
    "RandomTitleFemale": "name.title",
    "RandomTitleMale": "name.title",
    "RandomUsername": "username",
    "RandomPhoneNumber": "phone",
    "RandomTollFreePhoneNumber": "phone",
    "RandomE164PhoneNumber": "phone",
    "RandomLatitude": "address.latitude",
    "RandomLongitude": "address.longitude",
    "RandomIp": "network.ip",
    "RandomIPv4": "network.ip",
    "RandomIPv6": "network.ip",
    "RandomMac": "network.mac",
    "RandomMacAddress": "network.mac",
    "RandomURL": "url",
    "RandomDomainName": "url",
    "RandomUuid": "id.uuid",
    "RandomCCNumber": "financial.card",
    "RandomCompany": "text.lorem",
    "RandomWord": "text.lorem",
    "RandomSentence": "text.lorem",
    "RandomParagraph": "text.lorem",
    "RandomPassword": "id.secret",
    "HashedPassword": "id.secret",
    "RandomString": "id.secret",
    "Hash": "id.secret",
    "SetNull": "null",
    "RandomBool": {"mask": "choice", "values": [True, False]},
}
# Masking shows parts of the value; these hide all of it.
_MASKING: Final[dict[str, Written]] = {
    "name": "name.full",
    "addr": "address.full",
    "address": "address.full",
    "email": "email",
    "mobile": "phone",
    "tel": "phone",
    "telephone": "phone",
    "id": "text.scramble",
    "credit": "financial.card",
    "credit_card": "financial.card",
    "credit_cart": "financial.card",
    "postcode": "address.postcode",
    "url": "url",
}
_PERSON: Final = {"FirstName": "name.first", "LastName": "name.last", "Title": "name.title"}
_ADDRESS: Final = {
    "Address": "address.street",
    "City": "address.city",
    "State": "address.region",
    "PostalCode": "address.postcode",
    "Latitude": "address.latitude",
    "Longitude": "address.longitude",
}
_DAYS: Final = {
    "day": 1,
    "days": 1,
    "d": 1,
    "mon": 30,
    "mons": 30,
    "month": 30,
    "months": 30,
    "year": 365,
    "years": 365,
}
_SPAN: Final = re.compile(r"(\d+)\s*([a-z]+)", re.IGNORECASE)


def from_greenmask(document: Document) -> Imported:
    """The rules that a configuration means. Raises ``BadInput`` with the place of what is no such configuration."""
    imported = Imported()
    dump = document.data.get("dump")
    tables = dump.get("transformation") if isinstance(dump, dict) else None
    if not isinstance(dump, dict) or not isinstance(tables, list):
        raise BadInput(f"{document.at(['dump'])}: dump.transformation should hold a list of tables.")
    if dump.get("virtual_references"):
        imported.unequal.append(
            Unequal(
                "virtual_references", "they are not taken over", "name the columns under domains, to mask them alike"
            )
        )
    options = dump.get("pg_dump_options")
    for option in ("exclude-table-data", "exclude-table"):
        _leave_out(imported, option, options.get(option) if isinstance(options, dict) else None)
    for number, table in enumerate(tables):
        _Table(document, imported, number).read(table)
    return imported


def _leave_out(imported: Imported, option: str, patterns: Any) -> None:
    """Tables of which no rows are dumped."""
    for pattern in patterns if isinstance(patterns, list) else [patterns] if patterns else []:
        if re.fullmatch(r"\w+\.\w+", str(pattern)):
            imported.rows[TableName(*str(pattern).split("."))] = "none"
        else:
            what = f"the pattern {pattern} is not taken over"
            imported.unequal.append(Unequal(option, what, "rows: none leaves a table empty"))


class _Table:
    def __init__(self, document: Document, imported: Imported, number: int) -> None:
        self._document = document
        self._imported = imported
        self._place: list[str | int] = ["dump", "transformation", number]

    def read(self, table: Any) -> None:
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise BadInput(f"{self._document.at(self._place)}: a table needs a name.")
        name = TableName(str(table.get("schema", "public")), table["name"])
        conditions = table.get("subset_conds") or []
        if conditions:
            own = [_without_table(str(condition), name) for condition in conditions]
            self._imported.rows[name] = {
                "where": own[0] if len(own) == 1 else " AND ".join(f"({each})" for each in own)
            }
            self._note(
                name, "subset_conds also leaves out the rows that refer to those", "only this table is chosen from"
            )
        for key in ("query", "when"):
            if table.get(key):
                self._note(name, f"{key} is not taken over", "all rows are masked")
        transformers = table.get("transformers") or []
        if not isinstance(transformers, list):
            raise BadInput(f"{self._document.at([*self._place, 'transformers'])}: transformers should be a list.")
        for number, transformer in enumerate(transformers):
            if not isinstance(transformer, dict) or not isinstance(transformer.get("name"), str):
                place = self._document.at([*self._place, "transformers", number])
                raise BadInput(f"{place}: a transformer needs a name.")
            self._read_transformer(name, transformer)

    def _note(self, name: TableName | str, what: str, instead: str) -> None:
        self._imported.unequal.append(Unequal(str(name), what, instead))

    def _read_transformer(self, table: TableName, transformer: dict[str, Any]) -> None:
        kind = str(transformer["name"])
        params = transformer.get("params") or {}
        if not isinstance(params, dict):
            params = {}
        where = f"{table}.{params['column']}" if "column" in params else str(table)
        if transformer.get("when"):
            self._note(where, f"the condition of {kind} is not taken over", "all rows are masked")
        if transformer.get("dynamic_params"):
            self._note(where, f"{kind} takes parameters from other columns", "they are left out")
        columns = params.get("columns")
        if isinstance(columns, list):
            for each in columns:
                column = each if isinstance(each, dict) else {"name": each}
                if "name" in column:
                    rule = _of_template(kind, str(column.get("template", "")))
                    self._imported.decide(table, str(column["name"]), rule, what=kind)
            return
        misspelt = _misspelt(kind, params)
        instead = "it is left out" if "column" in params else "nothing was taken from it"
        for name, meant in misspelt.items():
            self._note(where, f"{kind}: the parameter {name} is not known; did you mean {meant}?", instead)
        if "column" not in params:
            if not misspelt:
                whole = kind not in _PLAIN and kind not in _TAKEN
                self._note(table, f"{kind} {'works on whole rows' if whole else 'names no column'}", instead)
            return
        rule = _rule(kind, params)
        known = {*_SAYS_NOTHING, *_TAKEN.get(kind, ())}
        lost = [name for name in params if name not in known and name not in misspelt]
        lost += ["keep_null"] if params.get("keep_null") is False else []
        if rule is not None and lost:
            mask = rule["mask"] if isinstance(rule, dict) else rule
            self._note(where, f"{kind}: not taken over: {', '.join(lost)}", f"{mask} goes without")
        self._imported.decide(table, str(params["column"]), rule, what=kind)


def _rule(kind: str, params: Mapping[str, Any]) -> Written | None:
    if kind in _PLAIN:
        return _PLAIN[kind]
    convert = _WITH_PARAMETERS.get(kind)
    return convert(params) if convert is not None else None


def _misspelt(kind: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters that are much like one that the transformer takes and was not given, and that one. Others may well be
    Greenmask's, though they mean nothing here."""
    known = {*_SAYS_NOTHING, *_TAKEN.get(kind, ())}
    missing = sorted(known - params.keys())
    near = {
        name: get_close_matches(name.lower(), missing, n=1, cutoff=_ALIKE)
        for name in map(str, params)
        if name not in known
    }
    return {name: found[0] for name, found in near.items() if found}


def _noise(params: Mapping[str, Any]) -> Written:
    ratio = params.get("max_ratio", params.get("ratio"))
    try:
        number = float(str(ratio))
    except ValueError:
        return "number.noise"
    return {"mask": "number.noise", "ratio": number} if 0 < number < 1 else "number.noise"


def _noise_date(params: Mapping[str, Any]) -> Written:
    span = str(params.get("max_ratio", params.get("ratio", "")))
    days = sum(int(count) * _DAYS.get(unit.lower().removesuffix("s"), 0) for count, unit in _SPAN.findall(span))
    return {"mask": "date.shift", "days": min(max(days, 1), 36_500)}


def _within(params: Mapping[str, Any]) -> Written | None:
    try:
        low, high = (float(str(params[name])) for name in ("min", "max"))
    except (KeyError, ValueError):
        return None
    whole = low.is_integer() and high.is_integer()
    return {"mask": "number.within", "min": int(low) if whole else low, "max": int(high) if whole else high}


def _choice(params: Mapping[str, Any]) -> Written | None:
    values = params.get("values")
    return {"mask": "choice", "values": values} if isinstance(values, list) and values else None


def _constant(params: Mapping[str, Any]) -> Written | None:
    value = params.get("value")
    return {"mask": "constant", "value": value} if isinstance(value, str | int | float | bool) else None


def _regexp(params: Mapping[str, Any]) -> Written | None:
    pattern, replacement = params.get("regexp"), params.get("replace")
    if not isinstance(pattern, str) or not isinstance(replacement, str):
        return None
    return {"mask": "text.regex", "pattern": pattern, "replacement": re.sub(r"\$\{?(\d)\}?", r"\\\1", replacement)}


def _masking(params: Mapping[str, Any]) -> Written:
    return _MASKING.get(str(params.get("type", "default")), "redact")


_WITH_PARAMETERS: Final[dict[str, Callable[[Mapping[str, Any]], Written | None]]] = {
    "NoiseInt": _noise,
    "NoiseFloat": _noise,
    "NoiseNumeric": _noise,
    "NoiseDate": _noise_date,
    "RandomInt": _within,
    "RandomFloat": _within,
    "RandomNumeric": _within,
    "RandomChoice": _choice,
    "Replace": _constant,
    "RegexpReplace": _regexp,
    "Masking": _masking,
}


# The parameters that each reads, and those that change nothing of what a mask gives.
_TAKEN: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("NoiseInt", "NoiseFloat", "NoiseNumeric", "NoiseDate"), frozenset({"max_ratio", "ratio"})),
    **dict.fromkeys(("RandomInt", "RandomFloat", "RandomNumeric"), frozenset({"min", "max"})),
    "RandomChoice": frozenset({"values"}),
    "Replace": frozenset({"value"}),
    "RegexpReplace": frozenset({"regexp", "replace"}),
    "Masking": frozenset({"type"}),
    **dict.fromkeys(("RandomPerson", "RealAddress"), frozenset({"columns"})),
}
# So much alike are two names of which one is misspelt; min_ratio and max_ratio are less so.
_ALIKE: Final = 0.8
_SAYS_NOTHING: Final = frozenset({"column", "engine", "keep_null", "validate"})


def _of_template(kind: str, template: str) -> Written | None:
    """What a template of RandomPerson or RealAddress writes: one part, or the whole of several."""
    known, whole = {"RandomPerson": (_PERSON, "name.full"), "RealAddress": (_ADDRESS, "address.full")}.get(
        kind, ({}, "")
    )
    parts = re.findall(r"\{\{-?\s*\.(\w+)\s*-?\}\}", template)
    if len(parts) == 1 and not re.sub(r"\{\{.*?\}\}", "", template).strip():
        return known.get(parts[0])
    needed = {"FirstName", "LastName"} if kind == "RandomPerson" else {"Address"}
    return whole if whole and needed <= set(parts) <= set(known) else None


def _without_table(condition: str, name: TableName) -> str:
    """A condition whose columns stand without their table."""
    return re.sub(rf'"?\b{re.escape(name.schema)}"?\."?{re.escape(name.name)}"?\.', "", condition)
