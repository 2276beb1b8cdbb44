"""Network: IP and MAC addresses of the same kind, and user agents."""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import BadInput, Column, ServerFailed, counted
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks import ipaddr
from transform.masks.base import TEXT, Build, Example, Form, Group, Mask, MaskKind, NoParams, lossy, register
from transform.masks.choosing import Phrases, TextMask, fixed_width, fold_case, merge, room
from transform.masks.ids import HEX_VALUE, LOWER_HEX, UPPER_HEX, text_tagged
from transform.masks.opaque import opaque_or_fail
from transform.masks.permutation import feistel

Rows: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

# ------------------------------------------------------------------------------------------------- IP addresses

# The longest that an address gets, and one of IPv4 that says no prefix.
_MOST_V6: Final = len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")
_MOST_V4: Final = len("255.255.255.255/32")
_MOST_V4_HOST: Final = len("255.255.255.255")


class IpColumn(Mask):
    """Permutes addresses within their class; family and prefix stay. In cidr the networks of one prefix are permuted,
    in inet whole addresses, whatever their prefix. A class without room, such as ::1, stays."""

    def __init__(self, prf: Prf, *, is_cidr: bool) -> None:
        self._prf = prf
        self._is_cidr = is_cidr

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        rows, addresses = ipaddr.read(values)
        if len(rows) + values.null_count != len(values):
            raise ServerFailed("an IP address did not arrive as PostgreSQL writes addresses.")
        made = ipaddr.write(_permuted(self._prf, addresses, is_cidr=self._is_cidr), with_prefix=self._is_cidr)
        return merge(len(values), (rows, made))


def _permuted(prf: Prf, addresses: ipaddr.Addresses, *, is_cidr: bool) -> ipaddr.Addresses:
    if is_cidr:
        return ipaddr.permute(prf, addresses)
    return ipaddr.permute(prf, addresses._replace(prefix=addresses.bits))._replace(prefix=addresses.prefix)


class IpText(TextMask):
    """The same for addresses in text, written as inet prints them. Other text, and what has no room for any address
    of its family, becomes ``x`` and a tag."""

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        written = fold_case(values) if self._folded else values
        rows, addresses = ipaddr.read(written)
        same = pc.equal(ipaddr.write(addresses, with_prefix=False), written.take(pa.array(rows)))
        well = same.to_numpy(zero_copy_only=False)
        if self._room is not None and self._room < _MOST_V6:
            needed = np.where(addresses.prefix == addresses.bits, _MOST_V4_HOST, _MOST_V4)
            well &= (addresses.bits == 32) & (self._room >= needed)
        rows, addresses = rows[well], addresses.take(np.flatnonzero(well))
        made = ipaddr.write(_permuted(self._prf, addresses, is_cidr=False), with_prefix=False)
        other = np.setdiff1d(np.arange(len(values)), rows)
        rest = opaque_or_fail("network.ip", "IP address", self, values.take(pa.array(other)), self._room)
        return merge(len(values), (rows, made), (other, rest))


def _build_ip(params: NoParams, build: Build) -> Mask:
    if build.column.base_type in TEXT:
        limit = room(build.column)
        if limit is not None and limit < _MOST_V4_HOST:
            raise BadInput(
                f"an IP address has up to {_MOST_V4_HOST} characters, and {build.column.type_name} holds {limit}."
            )
        return IpText(build.prf, build.column)
    return IpColumn(build.prf, is_cidr=build.column.base_type == "cidr")


register(
    MaskKind(
        name="network.ip",
        group=Group.NETWORK,
        summary="another IP address of the same family and class; no two meet",
        types=TEXT | {"inet", "cidr"},
        params=NoParams,
        build=_build_ip,
        uniqueness=text_tagged,
        form=Form.KEPT,
        examples=(
            Example("81.2.69.142", type_name="inet"),
            Example("192.168.4.20/24", type_name="inet"),
            Example("2a02:810d::b2", type_name="inet"),
        ),
        notes="Private, loopback, link-local and other special addresses stay in their block, and the length of the "
        "prefix stays. A masked public address may be someone's.",
    )
)

# ------------------------------------------------------------------------------------------------- MAC addresses

# Places of hexadecimal digits by a written form's length: in pairs parted by : or -, in fours parted by points, bare.
_SEPARATORS: Final = {17: (2, 5, 8, 11, 14), 23: (2, 5, 8, 11, 14, 17, 20), 14: (4, 9), 19: (4, 9, 14), 12: (), 16: ()}
_PAIRED: Final = (17, 23)
_DOTTED: Final = (14, 19)
_LEAST_MAC: Final = 12
_MAC_TWEAK: Final = 1


class Mac(TextMask):
    """Permutes all bits but two: whether it is one device's or a group's, and whether a vendor gave it. Separators
    and case stay. Other text, and a mix of cases, becomes ``x`` and a tag."""

    def __init__(self, prf: Prf, column: Column) -> None:
        super().__init__(prf, column)
        self._is_text = column.base_type in TEXT

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        offsets, data = binary_buffers(values)
        lengths = np.diff(offsets)
        lengths[values.is_null().to_numpy(zero_copy_only=False)] = 0
        parts: list[tuple[Rows, pa.BinaryArray]] = []
        rest = np.ones(len(values), dtype=np.bool_)
        for length, separators in _SEPARATORS.items():
            rows = np.flatnonzero(lengths == length)
            if rows.size:
                text = data[offsets[rows][:, None] + np.arange(length)]
                well = self._permute(text, separators)
                parts.append((rows[well], fixed_width(text[well])))
                rest[rows[well]] = False
        other = np.flatnonzero(rest)
        if other.size:
            unlike = values.take(pa.array(other))
            if not self._is_text and unlike.null_count < len(unlike):
                raise ServerFailed("a MAC address did not arrive as PostgreSQL writes addresses.")
            parts.append((other, opaque_or_fail("network.mac", "MAC address", self, unlike, self._room)))
        return merge(len(values), *parts) if parts else values

    def _permute(self, text: Bytes, separators: tuple[int, ...]) -> Flags:
        """Permute (n, length) characters in place, and tell which rows are MAC addresses; others mean nothing after."""
        length = text.shape[1]
        digits = [place for place in range(length) if place not in separators]
        nibbles = HEX_VALUE[text[:, digits]]
        capital: Flags = np.asarray(((text >= ord("A")) & (text <= ord("F"))).any(axis=1))
        small: Flags = np.asarray(((text >= ord("a")) & (text <= ord("f"))).any(axis=1))
        well: Flags = np.asarray((nibbles < 16).all(axis=1))
        if not self._folded:
            well &= ~(capital & small)
        if length in _PAIRED:
            parted = text[:, separators]
            well &= np.asarray((parted == ord(":")).all(axis=1) | (parted == ord("-")).all(axis=1))
        elif length in _DOTTED:
            well &= np.asarray((text[:, separators] == ord(".")).all(axis=1))
        nibbles[~well] = 0
        octets = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
        number = np.zeros((len(octets), 8), dtype=np.uint8)
        number[:, 8 - octets.shape[1] :] = octets
        masked = self._permute_numbers(number.view(">u8")[:, 0].astype(np.uint64), 8 * octets.shape[1])
        out: Bytes = masked.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - octets.shape[1] :]
        masked_nibbles = np.stack([out >> 4, out & 15], axis=2).reshape(len(out), -1)
        upper = (capital & ~small)[:, None]
        text[:, digits] = np.where(upper, UPPER_HEX[masked_nibbles], LOWER_HEX[masked_nibbles])
        return well

    def _permute_numbers(self, numbers: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
        """The two kept bits are the last of the first octet."""
        behind = np.uint64(bits - 8)
        left_bits = bits // 2 - 1 - 6
        kept = numbers >> behind & np.uint64(3)
        first = numbers >> behind >> np.uint64(2)
        low = numbers & ((np.uint64(1) << behind) - np.uint64(1))
        right_bits = np.uint64(bits - 8 - left_bits)
        left = first << np.uint64(left_bits) | low >> right_bits
        mask = (np.uint64(1) << right_bits) - np.uint64(1)
        tweak = _MAC_TWEAK + bits
        left, right = feistel(self._prf, left, low & mask, 1 << (left_bits + 6), 1 << int(right_bits), tweak)
        first, left = left >> np.uint64(left_bits), left & np.uint64((1 << left_bits) - 1)
        return (first << np.uint64(2) | kept) << behind | left << right_bits | right


def _build_mac(params: NoParams, build: Build) -> Mask:
    limit = room(build.column) if build.column.base_type in TEXT else None
    if limit is not None and limit < _LEAST_MAC:
        holds = counted(limit, "character")
        raise BadInput(f"a MAC address has {_LEAST_MAC} digits, and {build.column.type_name} holds {holds}.")
    return Mac(build.prf, build.column)


register(
    MaskKind(
        name="network.mac",
        group=Group.NETWORK,
        summary="another MAC address; no two meet",
        types=TEXT | {"macaddr", "macaddr8"},
        params=NoParams,
        build=_build_mac,
        uniqueness=text_tagged,
        form=Form.KEPT,
        examples=(Example("08:00:2b:01:02:03", type_name="macaddr"), Example("0800.2B01.0203")),
        notes="Separators and case stay, and the bits that tell a group's address and one that no vendor gave. The "
        "vendor does not stay.",
    )
)

# --------------------------------------------------------------------------------------------------- user agents

_WINDOWS: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_MAC_OS: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_LINUX: Final = "Mozilla/5.0 (X11; Linux x86_64)"
_ANDROID: Final = "Mozilla/5.0 (Linux; Android 10; K)"
_CHROMIUM: Final = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBKIT: Final = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


# Short ones too, so that some fit into most columns.
_PROGRAMS: Final = """curl/8.5.0 curl/8.9.1 Wget/1.21.4 PostmanRuntime/7.39.0 python-requests/2.32.3
    okhttp/4.12.0""".split()
_CHROME_VERSIONS: Final = ("120.0.0.0", "122.0.0.0", "124.0.0.0", "126.0.0.0")
_FIREFOX_VERSIONS: Final = ("115.0", "121.0", "124.0", "127.0")
_SAFARI_VERSIONS: Final = (("16.6", "16_6"), ("17.4", "17_4_1"), ("17.5", "17_5_1"))


@cache
def _agents() -> tuple[str, ...]:
    """Programs as they name themselves."""
    return (
        *_PROGRAMS,
        *(
            f"{system} {_CHROMIUM} Chrome/{version} {end}"
            for version in _CHROME_VERSIONS
            for system, end in (
                *((system, "Safari/537.36") for system in (_WINDOWS, _MAC_OS, _LINUX)),
                (_ANDROID, "Mobile Safari/537.36"),
                (_WINDOWS, f"Safari/537.36 Edg/{version}"),
            )
        ),
        *(
            f"{system[:-1]}; rv:{version}) Gecko/20100101 Firefox/{version}"
            for version in _FIREFOX_VERSIONS
            for system in (_WINDOWS, _MAC_OS.replace("10_15_7", "10.15"), _LINUX)
        ),
        *(
            f"Mozilla/5.0 ({system} Mac OS X{end_of_system}) {_WEBKIT} Version/{version} {end}"
            for version, of_system in _SAFARI_VERSIONS
            for system, end_of_system, end in (
                ("Macintosh; Intel", " 10_15_7", "Safari/605.1.15"),
                (f"iPhone; CPU iPhone OS {of_system} like", "", "Mobile/15E148 Safari/604.1"),
                (f"iPad; CPU OS {of_system} like", "", "Mobile/15E148 Safari/604.1"),
            )
        ),
    )


class UserAgent(TextMask):
    """One of a list, of those that the column has room for."""

    def __init__(self, prf: Prf, column: Column) -> None:
        super().__init__(prf, column)
        agents = [agent for agent in _agents() if self._room is None or len(agent) <= self._room]
        self._agents = Phrases((pa.array([agent.encode() for agent in agents], type=pa.binary()), 0))

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return self._agents.write(self.tags(values))


def _build_user_agent(params: NoParams, build: Build) -> Mask:
    limit, least = room(build.column), min(map(len, _agents()))
    if limit is not None and limit < least:
        raise BadInput(f"the shortest user agent has {least} characters, and {build.column.type_name} holds {limit}.")
    return UserAgent(build.prf, build.column)


register(
    MaskKind(
        name="network.user_agent",
        group=Group.NETWORK,
        summary="the user agent of a common browser or program",
        types=TEXT,
        params=NoParams,
        build=_build_user_agent,
        uniqueness=lossy,
        examples=(Example("Mozilla/5.0 (X11; Linux x86_64; rv:15.0) Gecko/20120427 Firefox/15.0a1"),),
        notes="It is picked from a list whatever the original was: a telephone may become a desk computer.",
    )
)
