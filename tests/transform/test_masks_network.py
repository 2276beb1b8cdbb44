"""IP addresses, MAC addresses and user agents."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

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

from capture.model import BadInput, ServerFailed
from tests.fix_postgres import Server
from transform.masks.base import Uniqueness

RNG = np.random.default_rng(11)
BLOCKS = [
    ip_network(text)
    for text in """10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 127.0.0.0/8 169.254.0.0/16 100.64.0.0/10 192.0.2.0/24
    198.51.100.0/24 224.0.0.0/4 240.0.0.0/4 0.0.0.0/8 fe80::/10 fc00::/7 ff02::/16 2001:db8::/32 2002::/16
    64:ff9b::/96""".split()
]


def v4(number: int) -> bytes:
    return str(IPv4Address(number)).encode()


def v6(number: int) -> bytes:
    """As PostgreSQL prints it: with IPv4's addresses in their own form."""
    address = IPv6Address(number)
    if number >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(number & 0xFFFFFFFF)}".encode()
    if number >> 32 == 0 and number >> 16:
        return f"::{IPv4Address(number)}".encode()
    return str(address).encode()


def in_block(block: IPv4Network | IPv6Network) -> st.SearchStrategy[bytes]:
    first, last = int(block.network_address), int(block.broadcast_address)
    return st.integers(first, last).map(v4 if block.version == 4 else v6)


v4s = st.integers(0, 2**32 - 1).map(v4) | st.sampled_from(BLOCKS[:11]).flatmap(in_block)
v6s = st.integers(0, 2**128 - 1).map(v6) | st.sampled_from(BLOCKS[11:]).flatmap(in_block)
sparse = st.lists(st.sampled_from([0, 0, 1, 0xFFFF]), min_size=8, max_size=8).map(
    lambda groups: v6(int("".join(f"{group:04x}" for group in groups), 16))
)
addresses = v4s | v6s | sparse
networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda one: IPv4Network(one, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(lambda one: IPv6Network(one, strict=False)),
)
macs = st.binary(min_size=6, max_size=6) | st.binary(min_size=8, max_size=8)


def written(network: IPv4Network | IPv6Network) -> bytes:
    number = int(network.network_address)
    return (v4 if network.version == 4 else v6)(number) + b"/%d" % network.prefixlen


@pytest.mark.parametrize("base_type", ["text", "citext", "varchar"])
@MANY_RUNS
@given(values=st.lists(addresses | networks.map(written) | st.sampled_from(AWKWARD_TEXTS), max_size=10))
def test_text_depends_on_the_value_only(base_type: str, values: list[bytes | None]) -> None:
    """An address masks alike alone, in a batch, in any order; so does other text."""
    assert_function_of_the_value(mask_of("network.ip", column_of(base_type)), values)


@pytest.mark.parametrize("base_type", ["inet", "cidr"])
@MANY_RUNS
@given(values=st.lists(st.none() | networks.map(written), max_size=10))
def test_addresses_depend_on_the_value_only(base_type: str, values: list[bytes | None]) -> None:
    """So does a column of addresses, in which all is said by the value."""
    mask = mask_of("network.ip", column_of(base_type))
    out = masked(mask, values)
    assert [masked(mask, [value])[0] for value in values] == out
    assert masked(mask, values[::-1]) == out[::-1]


@given(addresses)
def test_an_address_stays_in_its_block(value: bytes) -> None:
    """Private stays private, documentation stays documentation, and what is public stays public."""
    (out,) = masked(mask_of("network.ip", column_of("inet")), [value])
    before, after = ip_address(value.decode()), ip_address((out or b"").decode())
    assert before.version == after.version
    for block in BLOCKS:
        if block.version == before.version:
            assert (before in block) == (after in block)
    assert (before.is_global, before.is_multicast) == (after.is_global, after.is_multicast)
    assert (v4 if after.version == 4 else v6)(int(after)) == out


@pytest.mark.parametrize("value", [b"::1", b"::", b"0.0.0.0", b"255.255.255.255"])
def test_addresses_that_mean_themselves_stay(value: bytes) -> None:
    """There is no other of their kind."""
    assert masked(mask_of("network.ip", column_of("inet")), [value]) == [value]


@given(addresses, st.integers(0, 31))
def test_the_prefix_of_inet_stays(value: bytes, prefix: int) -> None:
    """And the address masks as it does without."""
    mask = mask_of("network.ip", column_of("inet"))
    alone, out = masked(mask, [value, b"%s/%d" % (value, prefix)])
    assert out == b"%s/%d" % (alone or b"", prefix)


@given(networks)
def test_a_network_stays_one(network: IPv4Network | IPv6Network) -> None:
    """Of the same length, with no bits behind it, in its block."""
    (out,) = masked(mask_of("network.ip", column_of("cidr")), [written(network)])
    after = ip_network((out or b"").decode())  # which refuses bits behind the prefix
    assert written(after) == out
    assert (after.version, after.prefixlen) == (network.version, network.prefixlen)
    for block in BLOCKS:
        if block.version == network.version:
            assert network.subnet_of(block) == after.subnet_of(block)  # type: ignore[arg-type]


def test_addresses_do_not_meet() -> None:
    """In and out of the blocks, in text and in inet, and networks of one length."""
    scattered = [v4(number) for number in np.unique(RNG.integers(0, 2**32, 120_000)).tolist()]
    dense = [v4(number) for number in range(int(IPv4Address("192.167.200.0")), int(IPv4Address("192.169.50.0")))]
    wide = [v6(number << 64 | 7) for number in range(20_000)] + [v6(0xFE80 << 112 | n) for n in range(20_000)]
    values = list(dict.fromkeys([*scattered, *dense, *wide]))
    for base_type in ("inet", "text"):
        assert_injective(values, masked(mask_of("network.ip", column_of(base_type)), [*values]))
    cidrs = [v4(number << 16) + b"/16" for number in range(2**16)]
    out = masked(mask_of("network.ip", column_of("cidr")), [*cidrs])
    assert sorted(filter(None, out)) == sorted(cidrs)
    assert uniqueness_of("network.ip", column_of("inet")) is Uniqueness.INJECTIVE
    assert uniqueness_of("network.ip") is Uniqueness.TAGGED


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_that_are_no_text_become_a_tag(values: list[bytes]) -> None:
    """A production in SQL_ASCII may hold any."""
    spoiled = [b"\xff" + value.replace(b"\0", b":") for value in values]
    for name in ("network.ip", "network.mac"):
        out = masked(mask_of(name), [*spoiled])
        assert all(re.fullmatch(rb"x[0-9a-f]{32}", value or b"") for value in out)


@pytest.mark.parametrize(
    "value", [b"2001:DB8::1", b"2001:0db8::1", b"192.168.001.001", b"10.0.0.1:8080", b"1.2.3.4, 5.6.7.8", b"1.2.3.4/32"]
)
def test_other_spellings_become_a_tag(value: bytes) -> None:
    """Two spellings of one address are two values, so neither may take the other's place."""
    (out,) = masked(mask_of("network.ip"), [value])
    assert re.fullmatch(rb"x[0-9a-f]{32}", out or b"")


def test_a_short_column_takes_what_fits() -> None:
    """In varchar(18) any address of IPv4 has room, and one of IPv6 has none; in varchar(15) a tag has none either."""
    out = masked(mask_of("network.ip", column_of("varchar", max_length=18)), [b"10.0.0.1", b"10.0.0.1/24", b"2a02::1"])
    assert [len(value or b"") <= 18 for value in out] == [True] * 3
    assert re.fullmatch(rb"x[0-9a-f]{17}", out[2] or b"")
    mask = mask_of("network.ip", column_of("varchar", max_length=15))
    assert ip_address((masked(mask, [b"10.0.0.1"])[0] or b"").decode()) in ip_network("10.0.0.0/8")
    with pytest.raises(ServerFailed):
        masked(mask, [b"2a02::1"])


def test_a_column_without_room_for_an_address_is_refused() -> None:
    """Whatever addresses it holds now, what a mask makes of them may be as long as any."""
    with pytest.raises(BadInput, match=r"an IP address has up to 15 characters, and varchar\(12\) holds 12"):
        mask_of("network.ip", column_of("varchar", max_length=12))
    for base_type in ("inet", "cidr"):
        mask_of("network.ip", column_of(base_type))


@pytest.mark.parametrize("name", ["network.ip", "network.mac"])
def test_what_no_server_prints_stops_the_run(name: str) -> None:
    """And is not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(mask_of(name, column_of("inet" if name == "network.ip" else "macaddr")), [b"secret"])
    assert "secret" not in str(caught.value)


# ------------------------------------------------------------------------------------------------- MAC addresses

FORMS = ["colons", "hyphens", "points", "bare"]


def mac(octets: bytes, form: str = "colons", capital: bool = False) -> bytes:
    text = {"colons": octets.hex(":"), "hyphens": octets.hex("-"), "bare": octets.hex()}.get(form) or ".".join(
        octets[place : place + 2].hex() for place in range(0, len(octets), 2)
    )
    return (text.upper() if capital else text).encode()


spelled = st.builds(mac, macs, st.sampled_from(FORMS), st.booleans())


@MANY_RUNS
@given(values=st.lists(spelled | st.sampled_from(AWKWARD_TEXTS), max_size=10))
def test_macs_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """An address masks alike alone, in a batch, in any order; so does other text."""
    assert_function_of_the_value(mask_of("network.mac"), values)


@given(macs, st.sampled_from(FORMS), st.booleans())
def test_a_mac_keeps_its_form_and_kind(octets: bytes, form: str, capital: bool) -> None:
    """Separators, case, and the two bits that say what kind of address it is."""
    value = mac(octets, form, capital)
    (out,) = masked(mask_of("network.mac"), [value])
    assert out is not None
    assert re.sub(rb"[0-9A-Fa-f]", b"", out) == re.sub(rb"[0-9A-Fa-f]", b"", value)
    assert out == (out.upper() if re.search(rb"[A-F]", value) else out.lower())
    after = bytes.fromhex(re.sub(r"[-:.]", "", out.decode()))
    assert len(after) == len(octets)
    assert after[0] & 3 == octets[0] & 3
    (alone,) = masked(mask_of("network.mac", column_of("macaddr")), [mac(octets)])
    assert alone == mac(after)


def test_macs_do_not_meet() -> None:
    """Neither of six octets nor of eight."""
    short = [mac(n.to_bytes(6, "big")) for n in [*range(100_000), *RNG.integers(0, 2**48, 100_000).tolist()]]
    for values in (short, [mac(n.to_bytes(8, "big")) for n in range(2**40, 2**40 + 100_000)]):
        assert_injective(values, masked(mask_of("network.mac", column_of("macaddr8")), [*values]))
    assert uniqueness_of("network.mac", column_of("macaddr")) is Uniqueness.INJECTIVE


@pytest.mark.parametrize("value", [b"08:00:2b:01:02", b"08:00-2b:01:02:03", b"08:00:2B:01:02:0c", b"08:00:2b:01:02:0g"])
def test_what_is_no_mac_becomes_a_tag(value: bytes) -> None:
    """Also a mix of cases, which no other spelling may meet."""
    assert re.fullmatch(rb"x[0-9a-f]{32}", masked(mask_of("network.mac"), [value])[0] or b"")


# --------------------------------------------------------------------------------------------------- user agents


@MANY_RUNS
@given(values=st.lists(st.sampled_from(AWKWARD_TEXTS), max_size=10))
def test_agents_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """A user agent masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("network.user_agent"), values)


@pytest.mark.parametrize("limit", [10, 40, 100, 255, None])
def test_agents_fit_the_column(limit: int | None) -> None:
    """None is cut, and there is a choice."""
    out = masked(mask_of("network.user_agent", column_of("varchar", max_length=limit)), [b"%d" % n for n in range(900)])
    assert len(set(out)) > (30 if limit is None or limit > 200 else 1)
    assert limit is None or max(len(value or b"") for value in out) <= limit
    assert uniqueness_of("network.user_agent") is Uniqueness.LOSSY
    with pytest.raises(BadInput):
        mask_of("network.user_agent", column_of("varchar", max_length=9))


# -------------------------------------------------------------------------------------------------- the server


@pytest.mark.integration
@pytest.mark.parametrize("base_type", ["inet", "cidr", "macaddr", "macaddr8"])
def test_the_server_prints_what_the_mask_gives(server18: Server, base_type: str) -> None:
    """Each address, read and printed by the type, is the same text."""
    numbers = [int.from_bytes(RNG.bytes(16), "big") >> int(shift) for shift in RNG.integers(0, 128, 400)]
    hosts = [str(IPv6Address(n)) for n in numbers] + [str(IPv4Address(n & 0xFFFFFFFF)) for n in numbers]
    hosts += [
        "::",
        "::1",
        "::1:0",
        "::ffff:10.0.0.1",
        "::1.2.3.4",
        "1::",
        "1:0:0:2::",
        "0:0:1::",
        "fe80::1",
        "1::2:0:0:3:4",
    ]
    match base_type:
        case "inet":
            texts = hosts + [f"{host}/{9 + place % 20}" for place, host in enumerate(hosts)]
        case "cidr":
            interfaces = [ip_interface(f"{host}/{place % 33}") for place, host in enumerate(hosts)]
            texts = [str(interface.network) for interface in interfaces] + hosts
        case _:
            texts = [mac((n & 2**48 - 1).to_bytes(6, "big")).decode() for n in numbers]
    name = "network.ip" if base_type in ("inet", "cidr") else "network.mac"
    with psycopg.connect(server18.url()) as connection:
        # format uses the type's own output, which the cast of inet to text does not.
        statement = (
            f"SELECT array_agg(format('%%s', v::{base_type}) ORDER BY n) "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        (values,) = connection.execute(statement, [texts]).fetchone() or ((),)
        out = masked(mask_of(name, column_of(base_type)), [value.encode() for value in values])
        shown = [(value or b"").decode() for value in out]
        (printed,) = connection.execute(statement, [shown]).fetchone() or ((),)
        assert [(one, two) for one, two in zip(shown, printed, strict=True) if one != two] == []
        if base_type == "inet":
            (text,) = masked(mask_of("network.ip"), [values[0].encode()])
            assert text == out[0]
