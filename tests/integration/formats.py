"""What a masked value must look like beside its original, mask by mask; the oracle's own idea of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from tests.integration.values import luhn_holds

# RFC 2606 and RFC 6761: names that no one can register.
_RESERVED: Final = re.compile(
    r"[^@\s]+@(?:[\w-]+\.)*(?:example\.(?:com|net|org)|(?:[\w-]+\.)?(?:example|test|invalid))", re.ASCII
)


def complaint(mask: str, params: dict[str, Any], old: str, new: str) -> str:
    """What is wrong with the masked value, or ''."""
    check = _CHECKS.get(mask)
    return check(params, old, new) if check is not None else ""


def _email(params: dict[str, Any], old: str, new: str) -> str:
    return "" if _RESERVED.fullmatch(new) else "not an address of a reserved domain"


def _card(params: dict[str, Any], old: str, new: str) -> str:
    if _skeleton(old) != _skeleton(new):
        return "another length or other separators"
    return "" if luhn_holds(re.sub(r"\D", "", new)) else "the check digit is wrong"


def _iban(params: dict[str, Any], old: str, new: str) -> str:
    if len(old) != len(new) or old[:2] != new[:2]:
        return "another country, length or other separators"
    compact = new.replace(" ", "")
    number = int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4]))
    return "" if number % 97 == 1 else "the check digits are wrong"


def _phone(params: dict[str, Any], old: str, new: str) -> str:
    if params.get("preserve_format"):
        letters_alike = (re.sub(r"[^\W\d_]", "a", _skeleton(text)) for text in (old, new))
        if len(set(letters_alike)) > 1:
            return "another length or other punctuation"
        if old.startswith("+") and old[:2] != new[:2]:
            return "another country code"
    return ""


def _lorem(params: dict[str, Any], old: str, new: str) -> str:
    return "" if len(old) == len(new) else f"another length, {len(new)} for {len(old)}"


def _constant(params: dict[str, Any], old: str, new: str) -> str:
    return "" if new == params["value"] else "not the constant"


def _shift(params: dict[str, Any], old: str, new: str) -> str:
    if "infinity" in old:
        return "" if new == old else "infinity moved"
    if old.endswith("BC") or new.endswith("BC"):
        return "" if old[-2:] == new[-2:] else "moved over the turn of the era"
    # A date is read as its midnight.
    before, after = datetime.fromisoformat(old), datetime.fromisoformat(new)
    return "" if abs((after - before).days) <= params["days"] + 1 else "moved too far"


def _noise(params: dict[str, Any], old: str, new: str) -> str:
    before, after = Decimal(old), Decimal(new)
    if before.as_tuple().exponent != after.as_tuple().exponent:
        return "another scale"
    return "" if abs(after) <= 2 * abs(before) + 1 else "too far from the original"


def _uuid(params: dict[str, Any], old: str, new: str) -> str:
    return "" if str(UUID(new)) == new else "not as PostgreSQL prints a uuid"


def _integer(params: dict[str, Any], old: str, new: str) -> str:
    return "" if re.fullmatch(r"-?(?:0|[1-9]\d*)", new) else "not an integer"


def _skeleton(text: str) -> str:
    return re.sub(r"\d", "0", text)


_CHECKS: Final[dict[str, Callable[[dict[str, Any], str, str], str]]] = {
    "email": _email,
    "financial.card": _card,
    "financial.iban": _iban,
    "phone": _phone,
    "text.lorem": _lorem,
    "constant": _constant,
    "date.shift": _shift,
    "number.noise": _noise,
    "id.uuid": _uuid,
    "id.int": _integer,
}
