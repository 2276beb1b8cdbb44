"""Secrets that look like what they were."""

from __future__ import annotations

import re

import numpy as np
import psycopg
import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from capture.model import ServerFailed
from tests.fix_postgres import Server
from transform.masks.base import Uniqueness

anything = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=60).map(str.encode)
hexadecimal = st.from_regex(r"\A[0-9a-f]{1,70}\Z|\A[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\Z").map(str.encode)
tokens = st.from_regex(r"\A(sk_live_|ghp_|xoxb-)?[A-Za-z0-9!#%]{1,60}\Z").map(str.encode)


def form(value: str) -> str:
    """The classes of a value's characters."""
    value = re.sub("[!\"#%&'()*;<>?@\\[\\\\\\]^`{|}~]", "!", re.sub("[0-9]", "9", value))
    return re.sub(r"[^\x00-\x7f]", "ü", re.sub("[a-z]", "a", re.sub("[A-Z]", "A", value)))


@pytest.mark.parametrize("base_type", ["text", "citext"])
@MANY_RUNS
@given(values=st.lists(anything | hexadecimal | tokens, max_size=10))
def test_a_secret_depends_on_the_value_only(base_type: str, values: list[bytes | None]) -> None:
    """It masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("id.secret", column_of(base_type)), values)


@MANY_RUNS
@given(st.lists(st.none() | st.binary(max_size=40), max_size=10))
def test_bytes_depend_on_the_value_only(secrets: list[bytes | None]) -> None:
    """So do bytes, of which there are as many after."""
    values = [None if secret is None else b"\\x" + secret.hex().encode() for secret in secrets]
    mask = mask_of("id.secret", column_of("bytea"))
    out = masked(mask, values)
    assert [masked(mask, [value])[0] for value in values] == out
    assert masked(mask, values[::-1]) == out[::-1]
    assert [value is None or len(value) for value in out] == [value is None or len(value) for value in values]


@given(st.text(max_size=60) | tokens.map(bytes.decode))
def test_the_form_stays(value: str) -> None:
    """Each character becomes one of its class; what is hexadecimal stays that."""
    (out,) = masked(mask_of("id.secret"), [value.encode()])
    text = (out or b"").decode()
    if re.fullmatch("[0-9a-f -]*[a-f][0-9a-f -]*|[0-9A-F -]*[A-F][0-9A-F -]*", value):
        assert re.sub("[0-9a-fA-F]", "x", text) == re.sub("[0-9a-fA-F]", "x", value) or form(text) == form(value)
        assert value.islower() == text.islower() or not re.search("[a-fA-F]", text)
    else:
        assert form(text) == form(value)


@pytest.mark.parametrize("value", [b"5d41402abc4b2a76b9719d911017c592", b"3F2504E0-4F89-11D3-9A0C-0305E82C3301"])
def test_hexadecimal_stays_so(value: bytes) -> None:
    """In its case."""
    (out,) = masked(mask_of("id.secret"), [value])
    assert re.fullmatch(rb"[0-9a-f]{32}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", out or b"")
    assert out != value


def test_nothing_of_a_prefix_stays() -> None:
    """Secrets that begin alike do not after, so that nobody takes one for live."""
    secrets = [f"sk_live_{n:024d}".encode() for n in range(1000)]
    out = masked(mask_of("id.secret"), [*secrets])
    assert not [secret for secret in out if (secret or b"").startswith(b"sk_live_")]
    assert len({(secret or b"")[:8] for secret in out}) == 1000
    assert {re.sub(rb"[a-z]", b"a", (secret or b"")[:8]) for secret in out} == {b"aa_aaaa_"}


def test_characters_of_a_class_come_up_alike() -> None:
    """Each of them about as often as the others."""
    out = b"".join(filter(None, masked(mask_of("id.secret"), [b"K" * 60 + b"%d" % n for n in range(2000)])))
    counts = np.bincount(np.frombuffer(out, dtype=np.uint8), minlength=128)[65:91]
    assert abs(counts / counts.mean() - 1).max() < 0.08


def test_secrets_do_not_meet() -> None:
    """Short ones of a form are permuted, and long ones carry a tag; both in bytes too."""
    for values in (
        [b"%04d" % n for n in range(10_000)],
        [b"!%c%03d" % (33 + sign, n) for sign in (0, 1, 2, 4) for n in range(1000)],
        [b"token-%020d" % n for n in range(100_000)],
    ):
        assert_injective(values, masked(mask_of("id.secret"), [*values]))
    for size in (1, 2, 9):
        values = [b"\\x" + n.to_bytes(size, "big").hex().encode() for n in range(min(256**size, 70_000))]
        assert_injective(values, masked(mask_of("id.secret", column_of("bytea")), [*values]))
    assert uniqueness_of("id.secret") is Uniqueness.TAGGED


def test_signs_alone_do_not_pass() -> None:
    """A password of signs is a password."""
    secrets: list[bytes | None] = [b"!!!!", b"(((" * 20, b"@#?"]
    out = masked(mask_of("id.secret"), secrets)
    assert all(one != two for one, two in zip(out, secrets, strict=True))
    assert all(form((value or b"").decode()) == "!" * len(value or b"") for value in out)


def test_bytes_in_another_format_stop_the_run() -> None:
    """And are not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(mask_of("id.secret", column_of("bytea")), [b"secret\\001"])
    assert "secret\\001" not in str(caught.value)


@pytest.mark.integration
def test_the_server_prints_the_bytes_that_the_mask_gives(server18: Server) -> None:
    """Read and printed by the type, they are the same text."""
    values = [b"\\x" + bytes(range(size)).hex().encode() for size in range(50)]
    out = [(value or b"").decode() for value in masked(mask_of("id.secret", column_of("bytea")), [*values])]
    with psycopg.connect(server18.url()) as connection:
        statement = "SELECT array_agg((v::bytea)::text ORDER BY n) FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        assert connection.execute(statement, [out]).fetchone() == (out,)
