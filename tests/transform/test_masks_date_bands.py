"""Dates at the start of what they lie in."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from fix_masks import MANY_RUNS, column_of, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import BadInput, ServerFailed
from tests.fix_postgres import Server
from transform.masks.base import Mask, mask_kind

UNITS = ["year", "quarter", "month", "week"]
ODD_DATES = ["infinity", "-infinity", "0044-03-15 BC", "4714-11-24 BC", "0001-12-31 BC", "0005-02-29 BC", "10000-01-01"]
DATES = st.none() | st.dates().map(str) | st.sampled_from([*ODD_DATES, "0001-01-01", "9999-12-31", "5874897-12-31"])


def masks() -> list[Mask]:
    column = column_of("date")
    bands = [mask_of("date.age_band", column, rule={"width": width, "at": at})
             for width, at in ((5, "first"), (7, "middle"), (100, "middle"))]  # fmt: skip
    return [*(mask_of("date.truncate", column, to=unit) for unit in UNITS), *bands]


@pytest.mark.parametrize("mask", masks())
@given(texts=st.lists(DATES, max_size=10))
@MANY_RUNS
def test_a_date_depends_on_the_value_only(mask: Mask, texts: list[str | None]) -> None:
    """A date masks alike alone, in a batch, in any order, in a slice and after a trip to another process."""
    values = [None if text is None else text.encode() for text in texts]
    column = pa.array(values, pa.binary())
    out = mask.apply(column).to_pylist()
    mask.apply(column).validate(full=True)
    assert [value is None for value in out] == [value is None for value in values]
    assert pickle.loads(pickle.dumps(mask)).apply(column).to_pylist() == out
    assert masked(mask, values[::-1]) == out[::-1]
    assert [mask.apply(column[row : row + 1]).to_pylist()[0] for row in range(len(values))] == out
    assert mask.apply(column[len(values) // 2 :]).to_pylist() == out[len(values) // 2 :]


@given(st.dates(date(200, 1, 1), date(9000, 1, 1)), st.integers(1, 100))
def test_a_band_holds_its_dates(day: date, width: int) -> None:
    """Its first day is at most its width before any of them, and its middle day half of that away."""
    for at in ("first", "middle"):
        mask = mask_of("date.age_band", column_of("date"), rule={"width": width, "at": at})
        (out,) = masked(mask, [str(day).encode()])
        shown = date.fromisoformat((out or b"").decode())
        first = date(day.year // width * width, 1, 1)
        middle = first.replace(year=first.year + width // 2, month=7 if width % 2 else 1)
        assert shown == (first if at == "first" else middle)


def test_years_of_four_digits_keep_four() -> None:
    """Also where the band reaches beyond them."""
    mask = mask_of("date.age_band", column_of("date"), rule={"width": 99, "at": "middle"})
    assert masked(mask, [b"9999-06-01"]) == [b"9999-12-31"]
    assert masked(mask_of("date.age_band", column_of("date")), [b"0003-06-01"]) == [b"0001-01-01"]


def test_the_first_days_of_the_type_stay_in_it() -> None:
    """There is no first of November 4714 BC, and no middle of the band after the last year."""
    mask = mask_of("date.truncate", column_of("date"), to="month")
    assert masked(mask, [b"4714-11-30 BC"]) == [b"4714-11-24 BC"]
    mask = mask_of("date.age_band", column_of("date"), rule={"width": 100, "at": "middle"})
    assert masked(mask, [b"5874897-06-01"]) == [b"5874850-01-01"]
    mask = mask_of("date.age_band", column_of("date"), rule={"width": 99, "at": "middle"})
    assert masked(mask, [b"5874897-06-01"]) == [b"5874897-12-31"]


@pytest.mark.parametrize("value", [b"31.01.2024", b"secret", b"2024/01/31"])
def test_a_date_in_another_style_stops_the_run(value: bytes) -> None:
    """A session that prints dates otherwise is found out, and the value is not told."""
    for mask in masks():
        with pytest.raises(ServerFailed) as caught:
            masked(mask, [value])
        assert value.decode() not in str(caught.value)


@pytest.mark.parametrize("unit", ["day", "hour"])
def test_a_date_is_not_truncated_to_what_it_is(unit: str) -> None:
    """That would be keep under another name."""
    with pytest.raises(BadInput, match="is what it was"):
        mask_of("date.truncate", column_of("date"), to=unit)


@pytest.mark.parametrize(
    ("name", "params"),
    [("date.truncate", {}), ("date.truncate", {"to": "minute"}), ("date.age_band", {"width": 0}),
     ("date.age_band", {"at": "last"})],
)  # fmt: skip
def test_parameters_are_checked(name: str, params: dict[str, object]) -> None:
    """What they do not know is a mistake."""
    with pytest.raises(ValidationError):
        mask_kind(name).params.model_validate(params)


@pytest.mark.integration
@pytest.mark.parametrize("base_type", ["date", "timestamp", "timestamptz"])
def test_the_server_truncates_alike(server18: Server, base_type: str) -> None:
    """What the mask gives is what date_trunc prints, and bands are texts that the server prints too."""
    rng = np.random.default_rng(7)
    start = datetime(1, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(int(days), int(seconds)) for days, seconds in rng.integers(0, 3_600_000, (300, 2))]
    texts = [moment.replace(tzinfo=None).isoformat(" ") for moment in moments]
    texts += [f"{year:04d}-08-02 12:00:00.25{era}" for year in range(1, 4000, 97) for era in ("", " BC")]
    texts += [f"{year}-02-28 01:00:00" for year in (9999, 10_000, 99_999, 294_276)]
    texts += ["infinity", "-infinity", "4713-05-24 01:00:00 BC", "294276-12-31 23:59:59.999999"]
    units = UNITS if base_type == "date" else [*UNITS, "day", "hour"]
    unnested = "FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
    with psycopg.connect(server18.url(), options="-c TimeZone=UTC -c DateStyle=ISO") as connection:
        printing = f"SELECT array_agg((v::{base_type})::text ORDER BY n) {unnested}"
        (values,) = connection.execute(printing, [texts]).fetchone() or ((),)
        sent: list[bytes | None] = [value.encode() for value in values]
        for unit in units:
            # By way of timestamp: with a time zone, some servers cannot truncate years far away.
            cast = f"((v::{base_type})::timestamp)"
            truncated = f"SELECT array_agg((date_trunc('{unit}', {cast})::{base_type})::text ORDER BY n) {unnested}"
            (expected,) = connection.execute(truncated, [texts]).fetchone() or ((),)
            out = masked(mask_of("date.truncate", column_of(base_type), to=unit), sent)
            shown = [(value or b"").decode() for value in out]
            assert [(unit, one, two) for one, two in zip(shown, expected, strict=True) if one != two] == []
        for width, at in ((5, "first"), (7, "middle")):
            mask = mask_of("date.age_band", column_of(base_type), rule={"width": width, "at": at})
            banded = [(value or b"").decode() for value in masked(mask, sent)]
            assert connection.execute(printing, [banded]).fetchone() == (banded,)
