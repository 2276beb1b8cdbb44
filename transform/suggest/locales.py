"""What locales the sampled values speak of: by the countries of telephone numbers, by the forms of national numbers, by
the script that names and addresses are written in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from capture.model import ColumnName
from transform.domains import Domain
from transform.masks.base import DEFAULT_LOCALE
from transform.masks.locales import find
from transform.suggest.detectors import LOCALES
from transform.suggest.profile import MOST, Profile
from transform.suggest.writing import Suggestion

_ENOUGH_NUMBERS: Final = 100
# The share of values that is more than a few odd ones.
_SEVERAL: Final = 0.05
_IN_WORDS: Final = ("name.", "address.")
# Kana and ideographs.
_JAPANESE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def locale_of_all(samples: Mapping[ColumnName, Sequence[bytes]]) -> str:
    """The locale that most telephone numbers with a country code are of; the default where they do not agree."""
    called: Counter[str] = Counter()
    for values in samples.values():
        numbers = [value.decode("ascii", "replace") for value in values if value.startswith(b"+")]
        if len(numbers) * 2 > len(values):
            called.update(found for number in numbers if (found := find(number)) is not None)
    best = max(called, key=called.__getitem__, default=DEFAULT_LOCALE)
    return best if called[best] >= max(_ENOUGH_NUMBERS, MOST * called.total()) else DEFAULT_LOCALE


def given_in(profile: Profile) -> list[str]:
    """The locales of the national numbers among the values, the most frequent first."""
    found = [hits for hits in profile.hits if not hits.by_chance and hits.count >= _SEVERAL * profile.total]
    return list(dict.fromkeys(LOCALES[hits.detector.what] for hits in found if hits.detector.what in LOCALES))


def written_in(
    found: Mapping[ColumnName, Suggestion],
    domains: Mapping[ColumnName, Domain],
    samples: Mapping[ColumnName, Sequence[bytes]],
) -> dict[ColumnName, Suggestion]:
    """The same suggestions, with the locale of names and addresses that are written in Japanese; others are of the
    file's own. What is masked like other columns has no locale of its own."""
    result = dict(found)
    for column, suggestion in found.items():
        rule = {"mask": suggestion.rule} if isinstance(suggestion.rule, str) else suggestion.rule
        values = samples.get(column, ())
        if "locale" in rule or not rule["mask"].startswith(_IN_WORDS) or len(domains[column].columns) > 1:
            continue
        japanese = sum(_JAPANESE.search(value.decode(errors="replace")) is not None for value in values)
        if values and japanese >= MOST * len(values):
            others = (suggestion.rule, *suggestion.others)
            result[column] = replace(suggestion, rule={**rule, "locale": "ja_JP"}, others=others)
    return result
