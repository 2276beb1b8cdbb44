"""Free text of the same length."""

from __future__ import annotations

from fix_masks import AWKWARD_TEXTS, MANY_RUNS, assert_function_of_the_value, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.sampled_from(AWKWARD_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(str.encode)


@given(st.lists(TEXTS, max_size=10))
@MANY_RUNS
def test_lorem_depends_on_the_value_only(values: list[bytes | None]) -> None:
    """A text masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("text.lorem"), values)


@given(st.lists(TEXTS, max_size=10))
@MANY_RUNS
def test_lorem_keeps_length_and_line_breaks(values: list[bytes | None]) -> None:
    """There are as many characters as before, line breaks where they were, and nothing else of the text."""
    for value, out in zip(values, masked(mask_of("text.lorem"), values), strict=True):
        if value is None or out is None:
            assert value is out
            continue
        text = value.decode()
        assert len(out) == len(text)
        for before, after in zip(text, out.decode(), strict=True):
            assert (before in "\r\n") == (after in "\r\n")
            assert after == before or after in ".\r\n " or after.isalpha()


def test_lorem_reads_as_a_sentence() -> None:
    """A text starts with a capital and does not end with a blank, also when it is longer than the mask's supply."""
    texts: list[bytes | None] = [b"x" * length for length in (1, 2, 3, 40, 200, 500_000)]
    for text, out in zip(texts, masked(mask_of("text.lorem"), texts), strict=True):
        assert text is not None
        assert out is not None
        assert len(out) == len(text)
        assert out[:1].isupper()
        assert out[-1:] != b" "
        assert b"  " not in out


def test_keys_and_values_choose_the_words() -> None:
    """Two values of the same length hardly ever meet, nor do two keys."""
    values: list[bytes | None] = [b"text number %04d, long enough to tell" % number for number in range(300)]
    one, two = masked(mask_of("text.lorem"), values), masked(mask_of("text.lorem", key=bytes([1] * 32)), values)
    assert len(set(one)) > 280
    assert not set(one) & set(two)
