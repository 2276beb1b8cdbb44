"""Columns of IP addresses: read, written as PostgreSQL prints them, and permuted within their class.

An address is a number of 128 bits in two halves; one of IPv4 has 32, all in the lower half. A *class* is a block of
addresses that mean something apart: private, loopback, link-local, documentation and so on (the IANA registries of
special-purpose addresses), or the addresses in none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET6, inet_pton
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transform.cmac import Prf
from transform.masks.choosing import join, merge
from transform.masks.permutation import feistel

Halves: TypeAlias = npt.NDArray[np.uint64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_V4_BITS: Final = 32
_V6_BITS: Final = 128
_V4: Final = r"^\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,3})?$"
_FALSE: Final = pa.scalar(False, pa.bool_())
# ::ffff:0:0/96, whose addresses are those of IPv4.
_MAPPED: Final = np.uint64(0xFFFF)


class Addresses(NamedTuple):
    """``bits`` is 32 or 128 and ``prefix`` the length of the network's part, at most as many; all are (n,)."""

    bits: Integers
    high: Halves
    low: Halves
    prefix: Integers

    def take(self, rows: Integers) -> Addresses:
        """Some of them."""
        return Addresses(self.bits[rows], self.high[rows], self.low[rows], self.prefix[rows])


# ------------------------------------------------------------------------------------------------------- reading


def read(values: pa.BinaryArray) -> tuple[Integers, Addresses]:
    """Which rows hold addresses, and those."""
    text = values.view(pa.string())
    slashes = pc.find_substring(text, "/").fill_null(-1).to_numpy(zero_copy_only=False)
    hosts = pc.replace_substring_regex(text, "/.*$", "") if (slashes >= 0).any() else text
    is_v4 = pc.match_substring_regex(text, _V4).fill_null(_FALSE).to_numpy(zero_copy_only=False)
    rows4 = np.flatnonzero(is_v4)
    parts = pc.split_pattern(hosts.take(pa.array(rows4)), ".").flatten().cast(pa.int64()).to_numpy().reshape(-1, 4)
    low4 = (parts << [24, 16, 8, 0]).sum(axis=1)
    right = (parts <= 255).all(axis=1)
    rows4, low4 = rows4[right], low4[right]

    rows6 = np.flatnonzero(~is_v4)
    found = [_read_v6(host) for host in hosts.take(pa.array(rows6)).view(pa.binary()).to_pylist()]
    rows6 = rows6[[address is not None for address in found]]
    halves = np.frombuffer(b"".join(filter(None, found)), dtype=">u8").reshape(-1, 2).astype(np.uint64)

    rows = np.concatenate([rows4, rows6])
    bits = np.repeat([_V4_BITS, _V6_BITS], [len(rows4), len(rows6)])
    prefix, readable = _read_prefixes(values, slashes, rows, bits)
    return rows[readable], Addresses(
        bits,
        np.concatenate([np.zeros(len(rows4), dtype=np.uint64), halves[:, 0]]),
        np.concatenate([low4.astype(np.uint64), halves[:, 1]]),
        prefix,
    ).take(np.flatnonzero(readable))


def _read_v6(host: bytes | None) -> bytes | None:
    if host is None or b":" not in host:
        return None
    try:
        return inet_pton(AF_INET6, host.decode("ascii"))
    except (OSError, ValueError):
        return None


def _read_prefixes(values: pa.BinaryArray, slashes: Integers, rows: Integers, bits: Integers) -> tuple[Integers, Flags]:
    prefix, readable = bits.copy(), np.ones(len(rows), dtype=np.bool_)
    given = np.flatnonzero(slashes[rows] >= 0)
    if given.size:
        written = [value[slash + 1 :] for value, slash in zip(
            values.take(pa.array(rows[given])).to_pylist(), slashes[rows[given]].tolist(), strict=True)]  # fmt: skip
        numbers = [int(text) if text.isdigit() and len(text) <= 3 else -1 for text in written]
        prefix[given] = numbers
        readable = (prefix >= 0) & (prefix <= bits)
    return prefix, readable


# ------------------------------------------------------------------------------------------------------- writing


@cache
def _octets() -> pa.BinaryArray:
    """The octets of IPv4, with a point behind them, then without."""
    return pa.array([b"%d%s" % (n, end) for end in (b".", b"") for n in range(256)], pa.binary())


@cache
def _groups() -> pa.BinaryArray:
    """The groups of IPv6, with a colon behind them, then without."""
    return pa.array([b"%x%s" % (n, end) for end in (b":", b"") for n in range(1 << 16)], pa.binary())


@cache
def _prefixes() -> pa.BinaryArray:
    """What follows an address, by the length of its prefix, and at the end for one that says none."""
    return pa.array([*(b"/%d" % n for n in range(_V6_BITS + 1)), b""], pa.binary())


def write(addresses: Addresses, *, with_prefix: bool) -> pa.BinaryArray:
    """The addresses as inet prints them, or ``with_prefix``, also of a single one, as cidr does."""
    is_v6 = addresses.bits == _V6_BITS
    rows4, rows6 = np.flatnonzero(~is_v6), np.flatnonzero(is_v6)
    parts = addresses.low[rows4].astype(">u4").view(np.uint8).reshape(-1, 4)
    v4 = _joined(_octets(), parts + np.array([0, 0, 0, 256]))
    hosts = v4 if not rows6.size else merge(len(is_v6), (rows4, v4), (rows6, _write_v6(addresses.take(rows6))))
    if with_prefix:
        return join(hosts, _prefixes().take(pa.array(addresses.prefix)))
    if (addresses.prefix == addresses.bits).all():
        return hosts
    said = np.where(addresses.prefix == addresses.bits, _V6_BITS + 1, addresses.prefix)
    return join(hosts, _prefixes().take(pa.array(said)))


def _joined(words: pa.BinaryArray, picked: Integers) -> pa.BinaryArray:
    """The words of each row one after the other."""
    taken = words.take(pa.array(picked.reshape(-1)))
    _, offsets, data = taken.buffers()
    starts = np.frombuffer(offsets, dtype=np.int32)[: len(taken) + 1 : picked.shape[1]].copy()
    return pa.Array.from_buffers(pa.binary(), len(picked), [None, pa.py_buffer(starts), data])


def _write_v6(addresses: Addresses) -> pa.BinaryArray:
    groups = np.column_stack([addresses.high, addresses.low]).astype(">u8").view(">u2").astype(np.int64)
    zero = groups == 0
    shortened = (zero[:, 1:] & zero[:, :-1]).any(axis=1)
    rows, others = np.flatnonzero(~shortened), np.flatnonzero(shortened)
    whole = _joined(_groups(), groups[rows] + np.array([0] * 7 + [1 << 16]))
    if not others.size:
        return whole
    short = pa.array([_shorten(row) for row in groups[others].tolist()], pa.binary())
    return merge(len(groups), (rows, whole), (others, short))


def _shorten(groups: Sequence[int]) -> bytes:
    """An address of which two groups or more in a row are 0: the first of the longest such rows is left out. IPv4's
    addresses inside IPv6's are written as such."""
    start, length, run = 0, 0, 0
    for place, group in enumerate(groups):
        run = 0 if group else run + 1
        if run > length:
            start, length = place + 1 - run, run
    end = start + length
    if start == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
        octets = [octet for group in groups[6:] for octet in divmod(group, 256)]
        return (b"::ffff:" if length == 5 else b"::") + b"%d.%d.%d.%d" % tuple(octets)
    return b":".join(b"%x" % group for group in groups[:start]) + b"::" + b":".join(b"%x" % g for g in groups[end:])


# ---------------------------------------------------------------------------------------------------- permuting

# The smallest first, where one is part of another. The last of each list are the addresses in none of the others; of
# those of IPv6 the first three bits say what they are for, and stay.
_V4_CLASSES: Final = """0.0.0.0/32 255.255.255.255/32 192.0.0.0/24 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24
    192.168.0.0/16 169.254.0.0/16 198.18.0.0/15 172.16.0.0/12 100.64.0.0/10 0.0.0.0/8 10.0.0.0/8 127.0.0.0/8
    224.0.0.0/4 240.0.0.0/4""".split()
_V6_CLASSES: Final = """::/128 ::1/128 ::ffff:0:0/96 64:ff9b::/96 fe80::/64 100::/64 64:ff9b:1::/48 2001:db8::/32
    2001::/23 3fff::/20 2002::/16 fec0::/10 fe80::/10 fc00::/7 ff00::/8""".split()
_NO_CLASS: Final = {_V4_BITS: 0, _V6_BITS: 3}
_MULTICAST_SCOPE: Final = 16  # bits of flags and scope, which stay


class _Class(NamedTuple):
    bits: int
    length: int
    kept: int
    high: np.uint64
    low: np.uint64
    mask_high: np.uint64
    mask_low: np.uint64


def _class(network: IPv4Network | IPv6Network) -> _Class:
    bits, length = network.max_prefixlen, network.prefixlen
    number, mask = int(network.network_address), int(network.netmask)
    kept = _MULTICAST_SCOPE if bits == _V6_BITS and network.is_multicast else length
    halves = (np.uint64(part >> shift & (2**64 - 1)) for part in (number, mask) for shift in (64, 0))
    high, low, mask_high, mask_low = halves
    return _Class(bits, length, kept, high, low, mask_high, mask_low)


_CLASSES: Final = [_class(ip_network(text)) for text in [*_V4_CLASSES, *_V6_CLASSES]]
_KEPT: Final = np.array([one.kept for one in _CLASSES])


def _classify(addresses: Addresses) -> Integers:
    """The number of each address's class, or of each network's, which lies in it as a whole; -1 for none."""
    found = np.full(len(addresses.bits), -1, dtype=np.int64)
    bits, high, low, prefix = addresses
    any_v4, any_v6 = bool((bits == _V4_BITS).any()), bool((bits == _V6_BITS).any())
    for number, one in reversed(list(enumerate(_CLASSES))):
        if any_v4 if one.bits == _V4_BITS else any_v6:
            inside = (bits == one.bits) & (prefix >= one.length) & (low & one.mask_low == one.low)
            if one.mask_high:
                inside &= high & one.mask_high == one.high
            found[inside] = number
    return found


def permute(prf: Prf, addresses: Addresses) -> Addresses:
    """Permute the bits of each address's prefix among the networks of that length in its class. Bits behind the
    prefix stay."""
    bits, high, low, prefix = addresses
    mapped = (bits == _V6_BITS) & (high == 0) & (low >> np.uint64(32) == _MAPPED) & (prefix >= _V6_BITS - _V4_BITS)
    if mapped.any():
        inner = permute(prf, Addresses(
            np.where(mapped, _V4_BITS, bits),
            high,
            np.where(mapped, low & np.uint64(2**32 - 1), low),
            np.where(mapped, prefix - (_V6_BITS - _V4_BITS), prefix),
        ))  # fmt: skip
        return Addresses(bits, inner.high, np.where(mapped, inner.low | _MAPPED << np.uint64(32), inner.low), prefix)
    classes = _classify(addresses)
    kept = np.where(bits == _V6_BITS, _NO_CLASS[_V6_BITS], _NO_CLASS[_V4_BITS])
    kept = np.where(classes >= 0, _KEPT[classes], kept)
    kept = np.minimum(kept, prefix)
    tweaks = (((bits + prefix) << 8) + classes + 1).astype(np.uint64)
    out = _step(prf, addresses, kept, tweaks)
    while (rows := np.flatnonzero(_classify(out) != classes)).size:
        again = _step(prf, out.take(rows), kept[rows], tweaks[rows])
        out.high[rows], out.low[rows] = again.high, again.low
    return out


def _step(prf: Prf, addresses: Addresses, kept: Integers, tweaks: Halves) -> Addresses:
    """Permute the bits between the first ``kept`` ones and the prefix's end, of which there are 125 at most."""
    bits, high, low, prefix = addresses
    behind, moving = (bits - prefix).astype(np.uint64), (prefix - kept).astype(np.uint64)
    right_bits = moving - moving // np.uint64(2)
    one = np.uint64(1)
    field_high, field_low = _shift_right(high, low, behind)
    left_size, right_size = one << moving // np.uint64(2), one << right_bits
    left = _shift_right(field_high, field_low, right_bits)[1] & (left_size - one)
    right = field_low & (right_size - one)
    new_left, new_right = feistel(prf, left, right, left_size, right_size, tweaks)
    changed = _shift_left(np.zeros_like(left), new_left ^ left, right_bits)
    changed = _shift_left(changed[0], changed[1] | (new_right ^ right), behind)
    return Addresses(bits, high ^ changed[0], low ^ changed[1], prefix)


# NumPy shifts by 64 or more to 0, and what is less than nothing wraps to a number like that.


def _shift_right(high: Halves, low: Halves, by: Halves) -> tuple[Halves, Halves]:
    half = np.uint64(64)
    return high >> by, low >> by | high << (half - by) | high >> (by - half)


def _shift_left(high: Halves, low: Halves, by: Halves) -> tuple[Halves, Halves]:
    half = np.uint64(64)
    return high << by | low >> (half - by) | low << (by - half), low << by
