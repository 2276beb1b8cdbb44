"""Keys that are data stay apart from each other, and from the names beside them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from fix_masks import MANY_RUNS, mask_of
from hypothesis import given
from hypothesis import strategies as st

from capture.model import ServerFailed
from transform.cmac import Prf
from transform.masks.base import Mask
from transform.masks.document_keys import DocumentKeys, mask_keys
from transform.masks.hstore import Hstore

# So few that a mask often turns one into another.
KEYS = st.sets(st.text("abcABC", max_size=2).map(str.encode), min_size=1)


class _Folded(Mask):
    """Gives A and a the same, whatever its author said."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return pa.array([value.lower() for value in values.to_pylist()], pa.binary())


@given(KEYS, KEYS)
@MANY_RUNS
def test_keys_that_meet_names_stay_apart(keys: set[bytes], names: set[bytes]) -> None:
    """However many names there are, no two keys meet, none becomes a name, and each depends on itself alone."""
    those = sorted(keys - names)
    scramble = mask_of("text.scramble")
    out = mask_keys(scramble, those, [names] * len(those))
    assert len(set(out) - names) == len(those)
    assert out == [mask_keys(scramble, [key], [names])[0] for key in those]


def test_a_mask_that_does_not_keep_keys_apart_ends() -> None:
    """One that leads to a name and stays there would else never end; no key is told."""
    with pytest.raises(ServerFailed, match="gives different ones the same") as failed:
        mask_keys(_Folded(), [b"Version"], [{b"version"}])
    assert "ersion" not in str(failed.value)


def test_no_member_is_lost_where_two_keys_become_one() -> None:
    """A jsonb object and an hstore hold a key once, so the run stops."""
    with pytest.raises(ServerFailed, match="gives different ones the same"):
        DocumentKeys({"$": _Folded()}, is_jsonb=True).mask([b'{"A": 1, "a": 2}'])
    with pytest.raises(ServerFailed, match="gives different ones the same"):
        Hstore(Prf(bytes(16)), "UTF8", {}, None, _Folded()).apply(pa.array([b'"A"=>"1", "a"=>"2"'], pa.binary()))
