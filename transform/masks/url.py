"""Web addresses that lead nowhere: at a reserved domain, with the scheme that they had."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from capture.model import BadInput, Column
from transform.cmac import Prf, binary_buffers
from transform.encodings import NO_ENCODING
from transform.masks.base import TEXT, Build, Example, Form, Group, Mask, MaskKind, Params, Uniqueness, register
from transform.masks.choosing import TextMask, base32, fixed_width, join, room
from transform.masks.permutation import Characters

# 65 bits of the tag; two addresses meet with negligible odds.
_TAG: Final = 13
_DOMAIN: Final = b"example.com"  # RFC 2606
# What another scheme may say is anyone's guess; it becomes the first.
_SCHEMES: Final = (b"https://", b"http://", b"ftp://", b"ftps://", b"sftp://", b"ws://", b"wss://", b"s3://")
_LONGEST: Final = max(map(len, _SCHEMES))
_BEGINNINGS: Final = pa.array([*_SCHEMES, b""], type=pa.binary())


class UrlParams(Params):
    """What the address shows."""

    preserve_format: bool = Field(
        default=False,
        description="Keep the form of path, query and fragment, digits as digits and letters as letters; otherwise "
        "there is a tag for a path.",
    )


class Url(TextMask):
    """``https://example.com/k3v9x2m8q1tza``, or ``https://k3v9x2m8q1tza.example.com`` and a path of the original's
    form. What does not fit goes: the path's end, the scheme, and last the domain."""

    def __init__(self, prf: Prf, column: Column, encoding: str, *, preserve_format: bool) -> None:
        super().__init__(prf, column)
        self._preserve_format = preserve_format
        self._encoding = encoding
        self._bare = _TAG + 1 + len(_DOMAIN)
        self._has_domain = self._room is None or self._room >= self._bare
        self._has_scheme = self._room is None or self._room >= self._bare + _LONGEST

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        tags = self.tags(values)
        tag = fixed_width(base32(tags, _TAG if self._room is None else min(_TAG, self._room)))
        if not self._has_domain:
            return tag
        number, after = self._schemes(values)
        begun = _BEGINNINGS.take(pa.array(number)) if self._has_scheme else b""
        if not self._preserve_format:
            return join(begun, _DOMAIN + b"/", tag)
        written = join(begun, tag, b"." + _DOMAIN, self._paths(values, after))
        return self._cut(written)

    @staticmethod
    def _schemes(values: pa.BinaryArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each value's scheme, the last for none, and how many bytes it takes."""
        number = np.full(len(values), len(_SCHEMES), dtype=np.int64)
        after = np.zeros(len(values), dtype=np.int64)
        parted = pc.find_substring(values, b"://").fill_null(-1).to_numpy(zero_copy_only=False)
        any_scheme = parted > 0
        number[any_scheme] = 0
        after[any_scheme] = parted[any_scheme] + 3
        head = pc.ascii_lower(pc.binary_slice(values, 0, _LONGEST).view(pa.string())).view(pa.binary())
        for known, scheme in enumerate(_SCHEMES[1:], start=1):
            found = (parted == len(scheme) - 3) & any_scheme
            if found.any():
                is_it = pc.starts_with(head, scheme).fill_null(False).to_numpy(zero_copy_only=False)
                number[found & is_it] = known
        return number, after

    def _paths(self, values: pa.BinaryArray, after: npt.NDArray[np.int64]) -> pa.BinaryArray:
        """What follows the host, its letters and digits permuted."""
        offsets, data = binary_buffers(values)
        bounds = offsets.astype(np.int64)
        marks = np.flatnonzero((data == ord("/")) | (data == ord("?")) | (data == ord("#")))
        ends = bounds[1:]
        first = np.append(marks, np.iinfo(np.int64).max)[np.searchsorted(marks, bounds[:-1] + after)]
        lengths = ends - np.minimum(first, ends)
        starts = np.zeros(len(values) + 1, dtype=np.int32)
        np.cumsum(lengths, out=starts[1:])
        # Which byte of the column each byte of the paths is.
        taken = np.arange(int(starts[-1])) + np.repeat(ends - lengths - starts[:-1], lengths)
        paths = pa.BinaryArray.from_buffers(
            pa.binary(), len(values), [None, pa.py_buffer(starts), pa.py_buffer(data[taken])]
        )
        signs = Characters(paths, self._encoding)
        signs.permute(self._prf)
        return signs.column()

    def _cut(self, written: pa.BinaryArray) -> pa.BinaryArray:
        if self._room is not None and self._encoding == NO_ENCODING:
            # Without an encoding, a production counts bytes, which need not be UTF-8.
            return pc.binary_slice(written, 0, self._room)
        return self.fit(written, pc.max(pc.binary_length(written)).as_py() or 0)


def _build_url(params: UrlParams, build: Build) -> Mask:
    limit = room(build.column)
    if build.unique and limit is not None and limit < _TAG:
        raise BadInput(
            f"masked addresses need {_TAG} characters in a unique column, and {build.column.type_name} holds {limit}.",
            hint="Widen the column, or choose a mask that permutes, such as text.scramble.",
        )
    return Url(build.prf, build.column, build.encoding, preserve_format=params.preserve_format)


def _url_uniqueness(params: UrlParams, column: Column) -> Uniqueness:
    limit = room(column)
    return Uniqueness.TAGGED if limit is None or limit >= _TAG else Uniqueness.LOSSY


register(
    MaskKind(
        name="url",
        group=Group.CONTACT,
        summary="a web address at a reserved domain, with the same scheme",
        types=TEXT,
        params=UrlParams,
        build=_build_url,
        uniqueness=_url_uniqueness,
        form=Form.ASKED,
        examples=(
            Example("https://navy.mil/people/ghopper?id=7"),
            Example("https://navy.mil/people/ghopper?id=7", {"preserve_format": True}),
        ),
        notes="The domain is example.com and leads nowhere. A scheme that is not known becomes https; an address "
        "without any has none. The tag keeps addresses apart, and is cut where a column that is not unique has no room "
        "for it.",
    )
)
