"""Patterns of values, with checksums where there are any.

A *hit* is a value that a detector knows. Strong detectors flag: one hit is enough for a person to look, unless chance
explains it. Weak ones only classify, by the share of hits. A long text is also searched for what may stand inside it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from transform.suggest import checks
from transform.suggest.category import Category


@dataclass(frozen=True, slots=True)
class Detector:
    """``odds`` is how often a value of the pattern's shape passes the test by chance; ``flags`` tells that one hit is
    enough to ask."""

    category: Category
    what: str
    pattern: re.Pattern[str]
    test: Callable[[str], bool] = checks.always
    odds: float = 0.0
    flags: bool = True


@dataclass(frozen=True, slots=True)
class Hits:
    """How many values a detector knows, of how many that have its shape; ``inside`` are those of which a part is one
    that it knows."""

    detector: Detector
    count: int
    shaped: int
    inside: int = 0

    @property
    def by_chance(self) -> bool:
        """Whether values that mean nothing would give as many."""
        expected = self.shaped * self.detector.odds
        return self.detector.odds > 0 and self.shaped >= _ENOUGH and self.count <= 2 * expected + 2


_ENOUGH: Final = 12


def _of(
    category: Category, what: str, pattern: str, test: Callable[[str], bool] = checks.always, **more: object
) -> Detector:
    return Detector(category, what, re.compile(pattern), test, **more)  # type: ignore[arg-type]  # odds and flags


_EMAIL: Final = r"[^\s@<>,;:\"'()]+@[^\s@<>,;:\"'()]+\.[^\W\d_]{2,}"
_KNOWN_FORMS: Final = (
    r"\$(?:2[abxy]|5|6|1|y|argon2(?:id|i|d)|pbkdf2[\w-]*|scrypt)\$\S{20,}|pbkdf2_\w+\$\S{20,}|\{SSHA\d*\}\S+"
    r"|SCRAM-SHA-256\$\S+|ey[\w-]{8,}\.ey[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]+-----[\s\S]*"
    r"|(?:sk|pk|rk|tk|cus|whsec|ghp|gho|ghs|github_pat|glpat|xox[abprs]|shpat|npm|pypi)[_-][\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}"
)

DETECTORS: Final = (
    _of(Category.EMAIL, "email", _EMAIL),
    _of(Category.IBAN, "iban", r"[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}", checks.iban, odds=0.01),
    _of(
        Category.CARD,
        "card",
        r"(?:4|5[1-5]|2[2-7]|6[05])(?:[ -]?\d){14,15}|3[47](?:[ -]?\d){13}",
        checks.luhn,
        odds=0.1,
    ),
    _of(Category.PERSONAL_NUMBER, "imei", r"(?:35|86|01|99)\d{13}", checks.luhn, odds=0.1, flags=False),
    _of(Category.PERSONAL_NUMBER, "us ssn", r"[0-8]\d\d-\d\d-\d{4}", checks.ssn),
    _of(Category.PERSONAL_NUMBER, "uk nino", r"[A-Za-z]{2} ?\d\d ?\d\d ?\d\d ?[A-Da-d]", checks.nino, odds=0.4),
    _of(Category.PERSONAL_NUMBER, "br cpf", r"\d{3}\.\d{3}\.\d{3}-\d\d|\d{11}", checks.cpf, odds=0.01),
    _of(Category.PERSONAL_NUMBER, "br cnpj", r"\d\d\.\d{3}\.\d{3}/\d{4}-\d\d|\d{14}", checks.cnpj, odds=0.01),
    _of(
        Category.PERSONAL_NUMBER,
        "fr nir",
        r"[12] ?\d\d ?[0-5]\d ?[\dAB]{2} ?\d{3} ?\d{3} ?\d\d",
        checks.nir,
        odds=0.011,
    ),
    _of(Category.PERSONAL_NUMBER, "de steuer-id", r"[1-9]\d{10}", checks.steuer_id, odds=0.06, flags=False),
    _of(Category.PERSONAL_NUMBER, "jp my number", r"\d{12}", checks.my_number, odds=0.1, flags=False),
    _of(Category.PERSONAL_NUMBER, "es dni", r"(?:[XYZxyz]-?\d{7}|\d{8})-?[A-Za-z]", checks.dni, odds=0.05),
    _of(
        Category.PERSONAL_NUMBER,
        "it codice fiscale",
        r"[A-Za-z]{6}\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z]",
        checks.fiscal_code,
    ),
    _of(
        Category.PERSONAL_NUMBER,
        "vin",
        r"(?=.*[A-Za-z])[A-HJ-NPR-Za-hj-npr-z0-9]{17}",
        checks.vin,
        odds=0.1,
        flags=False,
    ),
    _of(Category.CODE, "ean", r"97[89][\d -]{10,14}|\d{13}|\d{12}", checks.ean, odds=0.1, flags=False),
    _of(Category.SECRET, "secret", _KNOWN_FORMS),
    _of(Category.MAC, "mac", r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"),
    _of(Category.IP, "ip", r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:/\d+)?", flags=False),
    _of(Category.IP, "ip", r"(?=.*:.*:)(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?:/\d+)?", flags=False),
    _of(Category.PHONE, "phone", r"\+\d[\d ()./-]{6,20}(?:x\d+)?"),
    _of(
        Category.PHONE,
        "phone",
        r"(?:00|\()\d[\d ()./-]{6,20}(?:(?:x|ext\.?) ?\d+)?|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?:x\d+)?"
        r"|0\d{1,4}[ /-]\d[\d /-]{4,12}|0[1-9](?:[ .]\d\d){4}|[1-9]\d\d(?:[ .]\d{3}){2}|0[1-9]\d{8,9}",
        flags=False,
    ),
    _of(Category.USER_AGENT, "user agent", r"(?:Mozilla|Opera|Dalvik|curl|okhttp|PostmanRuntime)/\S+.*", flags=False),
    _of(Category.URL, "url", r"(?:https?|ftp)://\S+", flags=False),
    _of(Category.POSITION, "position", r"\(?-?\d{1,2}\.\d{3,},\s*-?\d{1,3}\.\d{3,}\)?", flags=False),
)
# Where numbers of these forms are given, so that a mask keeps their check digits right.
LOCALES: Final = {
    "us ssn": "en_US",
    "uk nino": "en_GB",
    "br cpf": "pt_BR",
    "br cnpj": "pt_BR",
    "fr nir": "fr_FR",
    "de steuer-id": "de_DE",
    "jp my number": "ja_JP",
    "es dni": "es_ES",
}
# What may stand inside a longer text.
_WITHIN: Final = (
    (DETECTORS[0], re.compile(_EMAIL)),
    (DETECTORS[1], re.compile(r"(?<![\w])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![\w])")),
    (DETECTORS[2], re.compile(r"(?<!\d)(?:4|5[1-5])\d{3}([ -]?)\d{4}\1\d{4}\1\d{4}(?!\d)")),
    (DETECTORS[4], re.compile(r"(?<![\w-])[0-8]\d\d-\d\d-\d{4}(?![\w-])")),
)
_LONG: Final = 20


def detect(values: Mapping[str, int]) -> list[Hits]:
    """The hits among values (each with how often it comes), the most frequent first."""
    hits: Counter[Detector] = Counter()
    shaped: Counter[Detector] = Counter()
    inside: Counter[Detector] = Counter()
    for value, times in values.items():
        text = value.strip()
        found = _known(text, times, shaped)
        if found is None and len(text) >= _LONG:
            found = _inside(text)
            if found is not None:
                shaped[found] += times
                inside[found] += times
        if found is not None:
            hits[found] += times
    return [Hits(detector, count, shaped[detector], inside[detector]) for detector, count in hits.most_common()]


def _known(text: str, times: int, shaped: Counter[Detector]) -> Detector | None:
    if not any(sign in text for sign in "@.:-$_/") and not any(sign.isdigit() for sign in text):
        return None
    found = None
    for detector in DETECTORS:
        if detector.pattern.fullmatch(text):
            shaped[detector] += times
            if found is None and detector.test(text):
                found = detector
    return found


def _inside(text: str) -> Detector | None:
    for detector, pattern in _WITHIN:
        match = pattern.search(text)
        if match is not None and detector.test(match[0]):
            return detector
    return None


_HEX: Final = re.compile(r"[0-9a-fA-F]{24,}|\\x[0-9a-f]{32,}")
_RANDOM: Final = re.compile(r"[\w+/=.~-]{16,}")


def looks_random(text: str) -> bool:
    """Whether a text has no spaces and so many different signs, of several kinds, that nobody thought of it."""
    if _HEX.fullmatch(text):
        return True
    if not _RANDOM.fullmatch(text):
        return False
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    changes = len(re.findall(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[a-z0-9])|(?<=\d)(?=[A-Za-z])", text))
    return kinds == 3 and changes * 4 >= len(text) and entropy(text) >= 3.3


def entropy(text: str) -> float:
    """Shannon's entropy of the signs, in bits a sign."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
