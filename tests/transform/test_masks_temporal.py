"""Shifted dates are dates, as the server prints them."""

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

from capture.model import ServerFailed
from tests.fix_postgres import Server
from transform.masks.base import mask_kind

DAYS = st.integers(1, 36_500)
ODD_DATES = ["infinity", "-infinity", "0044-03-15 BC", "4714-11-24 BC", "0001-12-31 BC", "0005-02-29 BC", "10000-01-01"]
DATES = st.none() | st.dates().map(str) | st.sampled_from([*ODD_DATES, "0001-01-01", "9999-12-31", "5874897-12-31"])


def encoded(values: list[str | None]) -> list[bytes | None]:
    return [None if value is None else value.encode() for value in values]


@given(st.lists(DATES, max_size=10), DAYS)
@MANY_RUNS
def test_a_date_depends_on_the_value_only(texts: list[str | None], days: int) -> None:
    """A date masks alike alone, in a batch, in any order, in a slice and after a trip to another process."""
    mask, values = mask_of("date.shift", column_of("date"), days=days), encoded(texts)
    column = pa.array(values, pa.binary())
    out = mask.apply(column).to_pylist()
    mask.apply(column).validate(full=True)
    assert [value is None for value in out] == [value is None for value in values]
    assert pickle.loads(pickle.dumps(mask)).apply(column).to_pylist() == out
    assert masked(mask, values[::-1]) == out[::-1]
    assert [mask.apply(column[row : row + 1]).to_pylist()[0] for row in range(len(values))] == out
    assert mask.apply(column[len(values) // 2 :]).to_pylist() == out[len(values) // 2 :]


@given(st.dates(date(1200, 1, 1), date(9000, 1, 1)), DAYS)
@MANY_RUNS
def test_a_date_moves_by_at_most_so_many_days_and_never_by_none(day: date, days: int) -> None:
    """The shift is 1 to `days` days either way."""
    (out,) = masked(mask_of("date.shift", column_of("date"), days=days), [str(day).encode()])
    assert 1 <= abs(date.fromisoformat((out or b"").decode()) - day).days <= days


def test_shifts_go_both_ways_and_use_the_whole_range() -> None:
    """Over many dates every shift but none comes about."""
    days = [date(2000, 1, 1) + timedelta(number) for number in range(2000)]
    out = masked(mask_of("date.shift", column_of("date"), days=3), [str(day).encode() for day in days])
    assert {(date.fromisoformat((one or b"").decode()) - day).days for one, day in zip(out, days, strict=True)} == {
        -3, -2, -1, 1, 2, 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    "ending", ["", " 10:11:12", " 10:11:12.5", " 23:59:59.999999+00", " 10:00:00 BC", " 10:00:00+00 BC"]
)
def test_the_time_of_day_stays(ending: str) -> None:
    """Only the date changes; fractions, offset and era stay."""
    (out,) = masked(mask_of("date.shift", column_of("timestamptz"), days=30), [f"1984-02-28{ending}".encode()])
    assert out is not None
    assert out.endswith(ending.encode())
    assert out[:4] in (b"1984", b"1985")


def test_infinity_stays() -> None:
    """It is no day that could be shifted."""
    assert masked(mask_of("date.shift", column_of("date"), days=30), [b"infinity", b"-infinity"]) == [
        b"infinity",
        b"-infinity",
    ]


def test_years_of_four_digits_keep_four() -> None:
    """Clients that know no other years can read every copy."""
    values: list[bytes | None] = [b"9999-12-%02d" % day for day in range(1, 32)] + [
        b"0001-01-%02d" % day for day in range(1, 32)
    ]
    out = masked(mask_of("date.shift", column_of("date"), days=36_500), values)
    assert {len(value or b"") for value in out} == {10}
    assert {b"9999-12-31", b"0001-01-01"} <= set(out)


def test_the_calendar_before_christ_is_the_same_one() -> None:
    """A shift by one day crosses year 1 BC and its leap day as the calendar does."""
    mask = mask_of("date.shift", column_of("date"), days=1)
    neighbours = {
        b"0001-02-29 BC": {b"0001-02-28 BC", b"0001-03-01 BC"},
        b"0001-12-31 BC": {b"0001-12-30 BC", b"0001-01-01"},
        b"10000-01-01": {b"9999-12-31", b"10000-01-02"},
        b"4714-11-24 BC": {b"4714-11-24 BC", b"4714-11-25 BC"},
        b"5874897-12-31": {b"5874897-12-31", b"5874897-12-30"},
    }
    for value, expected in neighbours.items():
        assert masked(mask, [value])[0] in expected


@pytest.mark.parametrize("value", [b"31.01.2024", b"secret", b"2024/01/31"])
def test_a_date_in_another_style_stops_the_run(value: bytes) -> None:
    """A session that prints dates otherwise is found out, and the value is not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(mask_of("date.shift", column_of("date"), days=1), [value])
    assert value.decode() not in str(caught.value)


@pytest.mark.parametrize("params", [{}, {"days": 0}, {"days": 36_501}, {"days": 1, "hours": 1}])
def test_days_are_required_and_bounded(params: dict[str, int]) -> None:
    """There is no default, and more than a century is a mistake."""
    with pytest.raises(ValidationError):
        mask_kind("date.shift").params.model_validate(params)


@pytest.mark.integration
@pytest.mark.parametrize("base_type", ["date", "timestamp", "timestamptz"])
def test_the_server_prints_what_the_mask_gives(server18: Server, base_type: str) -> None:
    """Each shifted date, cast to the type and back, is the same text."""
    rng = np.random.default_rng(7)
    with psycopg.connect(server18.url(), options="-c TimeZone=UTC -c DateStyle=ISO") as connection:
        start = datetime(1, 1, 1, tzinfo=UTC)
        moments = [start + timedelta(int(days), int(seconds)) for days, seconds in rng.integers(0, 3_600_000, (500, 2))]
        texts = [moment.replace(tzinfo=None).isoformat(" ") for moment in moments]
        texts += [f"{year:04d}-07-01 12:00:00.25{era}" for year in range(1, 4000, 97) for era in ("", " BC")]
        texts += [f"{year}-02-28 01:00:00" for year in (9999, 10_000, 99_999, 294_276)]
        texts += ["infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999"]
        statement = (
            f"SELECT array_agg((v::{base_type})::text ORDER BY n) FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        (values,) = connection.execute(statement, [texts]).fetchone() or ((),)
        out = masked(mask_of("date.shift", column_of(base_type), days=10_000), encoded(values))
        shifted = [(value or b"").decode() for value in out]
        assert connection.execute(statement, [shifted]).fetchone() == (shifted,)
