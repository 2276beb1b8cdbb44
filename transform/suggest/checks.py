"""Check digits of numbers that name a person, a card or an account. Each function takes what its pattern matched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final


def _digits(text: str) -> list[int]:
    return [int(sign) for sign in text if sign.isdigit()]


def _weighted(digits: Sequence[int], weights: Sequence[int]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=True))


def luhn(text: str) -> bool:
    """Cards, IMEI."""
    digits = _digits(text)[::-1]
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: mod 97."""
    account = re.sub(r"\s", "", text).upper()
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def ean(text: str) -> bool:
    """EAN-13, ISBN-13, UPC: codes of things."""
    digits = _digits(text)[::-1]
    return (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


def cpf(text: str) -> bool:
    """Brazil's number of a person."""
    digits = _digits(text)
    if len(set(digits)) == 1:
        return False
    return all(
        _weighted(digits[:length], range(length + 1, 1, -1)) * 10 % 11 % 10 == digits[length] for length in (9, 10)
    )


def cnpj(text: str) -> bool:
    """Brazil's number of a company."""
    digits = _digits(text)
    weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    for length in (12, 13):
        rest = _weighted(digits[:length], weights[13 - length :]) % 11
        if digits[length] != (0 if rest < 2 else 11 - rest):
            return False
    return len(set(digits)) > 1


def dni(text: str) -> bool:
    """Spain's DNI and NIE."""
    number = text[:-1].upper().rstrip("-")
    number = str("XYZ".find(number[0])) + number[1:] if number[0] in "XYZ" else number
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1].upper()


def nir(text: str) -> bool:
    """France's number of social security."""
    signs = re.sub(r"[ .-]", "", text).upper().replace("2A", "19").replace("2B", "18")
    return signs.isdigit() and 97 - int(signs[:13]) % 97 == int(signs[13:])


def steuer_id(text: str) -> bool:
    """Germany's tax number of a person: of ten digits one or two come more than once, and ISO 7064."""
    digits = _digits(text)
    if len(set(digits[:10])) not in {8, 9}:
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((digit + product) % 10 or 10) % 11
    return (11 - product) % 10 == digits[10]


def my_number(text: str) -> bool:
    """Japan's number of a person."""
    digits = _digits(text)
    rest = _weighted(digits[10::-1], [2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6]) % 11
    return digits[11] == (0 if rest <= 1 else 11 - rest)


_VIN: Final = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True))


def vin(text: str) -> bool:
    """A vehicle's number, with the check digit that North America asks for."""
    values = [_VIN[sign] if sign.isalpha() else int(sign) for sign in text.upper()]
    rest = _weighted(values, [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]) % 11
    return text[8].upper() == ("X" if rest == 10 else str(rest))


def fiscal_code(text: str) -> bool:
    """Italy's codice fiscale."""
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    total = 0
    for place, sign in enumerate(text.upper()[:15]):
        value = int(sign) if sign.isdigit() else ord(sign) - 65
        total += odd[value] if place % 2 == 0 else value
    return chr(65 + total % 26) == text[15].upper()


def ssn(text: str) -> bool:
    """The United States' number of social security: what was never given out is none."""
    area, group, serial = text.split("-")
    return area not in {"000", "666"} and group != "00" and serial != "0000"


def nino(text: str) -> bool:
    """The United Kingdom's National Insurance number: prefixes that are not given out are none."""
    prefix = text[:2].upper()
    return (
        prefix not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}
        and prefix[1] != "O"
        and not set(prefix) & set("DFIQUV")
    )


def always(text: str) -> bool:
    """For patterns that say enough."""
    return True
