"""Documents: json and jsonb, leaf by leaf, chosen by paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from capture.model import BadInput
from transform import jsontext
from transform.cmac import Prf
from transform.masks.base import JSON, Build, Mask, MaskKind, Params, lossy, register
from transform.masks.basic import Keep
from transform.masks.permutation import Characters

_STEP: Final = re.compile(r"""\.([^\W\d][\w$-]*)|\[\*\]|\["((?:[^"\\]|\\.)*)"\]|\['((?:[^'\\]|\\.)*)'\]""")
_QUOTE: Final = ord('"')
_BOOLEANS: Final = (b"false", b"true")
_STRINGS_TWEAK: Final = 1
_NUMBERS_TWEAK: Final = 2

# -------------------------------------------------------------------------------------------------------- paths


@dataclass(slots=True, eq=False)
class Node:
    """A place in documents and what the rules say of it and of what lies below: members by key, all elements of an
    array, and a mask. A mask holds for all leaves below it that no longer path names; None is what holds above."""

    mask: Mask | None = None
    members: dict[bytes, Node] = field(default_factory=dict)
    elements: Node | None = None

    @property
    def leads_on(self) -> bool:
        """Whether the rules say anything of what lies below."""
        return bool(self.members) or self.elements is not None


def parse_path(path: str) -> list[str | None]:
    """The steps of a path from ``$``: a member's key, or None for all elements of an array. Raises ``BadInput``."""
    steps: list[str | None] = []
    position = 1
    while path.startswith("$") and position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        key = next((group for group in step.groups() if group is not None), None)
        steps.append(key if key is None or step[1] is not None else re.sub(r"\\(.)", r"\1", key))
        position = step.end()
    if position != len(path) or not path.startswith("$"):
        raise BadInput(
            f"the path {path!r} cannot be read.",
            hint='A path is $ and steps below it: .key, ["odd key"] or [*] for all elements of an array.',
        )
    return steps


# ------------------------------------------------------------------------------------------------------- leaves


class _Leaves:
    """The leaves that one mask gets, of all documents: their tokens, and where among the pieces they belong."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._places: list[int] = []
        self._tokens: list[bytes] = []

    def add(self, place: int, token: bytes) -> None:
        self._places.append(place)
        self._tokens.append(token)

    def fill(self, pieces: list[bytes]) -> None:
        """Put the masked leaves into their places. A number or a boolean stays one if the mask gives one."""
        texts = [jsontext.unquote(token) if token[:1] == b'"' else token for token in self._tokens]
        masked = self._mask.apply(pa.array(texts, pa.binary())).to_pylist()
        for place, token, value in zip(self._places, self._tokens, masked, strict=True):
            pieces[place] = _as_token(value, token)


def _as_token(value: bytes | None, instead_of: bytes) -> bytes:
    if value is None:
        return b"null"
    is_string = instead_of[:1] == b'"'
    if not is_string and (value in _BOOLEANS if instead_of in _BOOLEANS else jsontext.is_number(value)):
        return value
    return jsontext.quote(value)


class _Scrambled:
    """The leaves that no path names, of all documents.

    Strings keep their length and the classes of their characters, numbers their sign and count of digits. A boolean
    has nothing to scramble: it is drawn anew, by the whole document that it stands in.
    """

    def __init__(self, prf: Prf) -> None:
        self._prf = prf
        # Of each type, where the leaves belong among the pieces, and what they are.
        self._string_places: list[int] = []
        self._strings: list[bytes] = []
        self._number_places: list[int] = []
        self._numbers: list[bytes] = []
        self._boolean_places: list[int] = []
        self._boolean_numbers: list[int] = []  # 128 for each document that has any
        self._documents: list[bytes] = []
        self._in_document = 0

    def begin(self) -> None:
        """The leaves to come are those of another document."""
        self._in_document = 0

    def add(self, place: int, token: bytes, document: bytes) -> None:
        if token[0] == _QUOTE:
            self._string_places.append(place)
            self._strings.append(token[1:-1] if b"\\" not in token else jsontext.unquote(token))
        elif token not in _BOOLEANS:
            self._number_places.append(place)
            self._numbers.append(token)
        else:
            if not self._in_document:
                self._documents.append(document)
            self._boolean_places.append(place)
            self._boolean_numbers.append((len(self._documents) - 1) * 128 + self._in_document % 128)
            self._in_document += 1

    def fill(self, pieces: list[bytes]) -> None:
        """Put the scrambled leaves into their places."""
        if self._strings:
            strings = Characters(pa.array(self._strings, pa.binary()))
            strings.permute(self._prf, _STRINGS_TWEAK)
            for place, text in zip(self._string_places, strings.column().to_pylist(), strict=True):
                pieces[place] = jsontext.quote(text)
        if self._numbers:
            numbers = _digits_of(pa.array(self._numbers, pa.binary()))
            numbers.permute(self._prf, _NUMBERS_TWEAK)
            for place, text in zip(self._number_places, numbers.column().to_pylist(), strict=True):
                pieces[place] = text
        if self._documents:
            bits = np.unpackbits(self._prf.tags(pa.array(self._documents, pa.binary())))
            for place, bit in zip(self._boolean_places, bits[self._boolean_numbers].tolist(), strict=True):
                pieces[place] = _BOOLEANS[bit]


def _digits_of(numbers: pa.BinaryArray) -> Characters:
    """The digits that may change: not the zeros that a number begins with, which say how small it is, and no
    exponent. The first digit behind those zeros does not become one."""
    characters = Characters(numbers)
    data, offsets = characters.data, characters.offsets
    lengths = np.diff(offsets)
    places = np.arange(len(data))
    first = _first(characters.digits & (data != ord("0")), offsets)
    exponent = _first((data | 0x20) == ord("e"), offsets)
    stays = ~characters.digits | (places < np.repeat(first, lengths)) | (places > np.repeat(exponent, lengths))
    characters.radix[stays] = 0
    leading = first[(first < offsets[1:]) & (first < exponent)]
    characters.radix[leading] = 9
    characters.first[leading] = ord("1")
    return characters


def _first(flags: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where the first flagged byte of each value is; the value's end where none is."""
    flagged = np.append(np.flatnonzero(flags), offsets[-1])
    first: npt.NDArray[np.int64] = np.minimum(flagged[np.searchsorted(flagged, offsets[:-1])], offsets[1:])
    return first


# ---------------------------------------------------------------------------------------------------- documents


class Documents(Mask):
    """Masks the leaves of documents as ``root`` and what hangs below it say, and scrambles all others. Keys and null
    stay, and so does every byte that is no part of a leaf."""

    def __init__(self, prf: Prf, root: Node) -> None:
        self._prf = prf
        self._root = root

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        pieces: list[bytes] = []
        ends: list[int] = []
        leaves: dict[Mask, _Leaves] = {}
        scrambled = _Scrambled(self._prf)
        documents = values.to_pylist()
        for document in documents:
            if document is not None:
                scrambled.begin()
                self._cut(document, pieces, leaves, scrambled)
            ends.append(len(pieces))
        for named in leaves.values():
            named.fill(pieces)
        scrambled.fill(pieces)
        masked: list[bytes | None] = []
        start = 0
        for document, end in zip(documents, ends, strict=True):
            masked.append(None if document is None else b"".join(pieces[start:end]))
            start = end
        return pa.array(masked, pa.binary())

    def _cut(self, document: bytes, pieces: list[bytes], leaves: dict[Mask, _Leaves], scrambled: _Scrambled) -> None:
        """Cut a document into pieces, and hand out the leaves among them that do not stay."""
        above: list[tuple[Node | None, Mask | None, bool]] = []
        node: Node | None = None
        mask: Mask | None = None
        in_object = False
        add = pieces.append
        for lead, key, string, scalar, opening, closing in jsontext.TOKEN.findall(document):
            add(lead)
            if closing:
                add(closing)
                node, mask, in_object = above.pop()
                continue
            child: Node | None = None
            if not above:
                child = self._root
            elif node is not None:
                child = node.members.get(jsontext.unquote(key)) if in_object else node.elements
            of_child = mask if child is None or child.mask is None else child.mask
            if opening:
                above.append((node, mask, in_object))
                node, mask, in_object = (
                    child if child is not None and child.leads_on else None,
                    of_child,
                    opening == b"{",
                )
                add(opening)
                continue
            leaf = string or scalar
            if leaf != b"null":
                if of_child is None:
                    scrambled.add(len(pieces), leaf, document)
                elif type(of_child) is not Keep:
                    if of_child not in leaves:
                        leaves[of_child] = _Leaves(of_child)
                    leaves[of_child].add(len(pieces), leaf)
            add(leaf)
        if document[-1:].isspace():  # json keeps blanks
            add(b" ")


class DocumentParams(Params):
    """``paths`` gives a mask, or keep, to what lies at a path such as ``$.a.b``, ``$.a[*].b`` or ``$["odd key"]``."""

    paths: dict[str, str | dict[str, Any] | None] = Field(default_factory=dict)


def _build_documents(params: DocumentParams, build: Build) -> Mask:
    root = Node()
    for path, rule in params.paths.items():
        node = root
        for step in parse_path(path):
            if step is None:
                node.elements = node = node.elements or Node()
            else:
                node = node.members.setdefault(step.encode(), Node())
        if node.mask is not None:
            raise BadInput(f"the path {path!r} is given twice, in two spellings.")
        assert build.nested is not None, "a plan builds nested masks"
        try:
            # YAML's null is the mask of that name.
            node.mask = build.nested("null" if rule is None else rule, path)
        except BadInput as error:
            raise BadInput(f"at the path {path!r}: {error.message}", hint=error.hint) from None
    return Documents(build.prf, root)


register(
    MaskKind(
        "json",
        "documents by path, with every leaf that no path names scrambled",
        JSON,
        DocumentParams,
        _build_documents,
        lossy,
        ('{"tier": "gold", "visits": 12}', '{"tier": "xaqm", "visits": 70}'),
    )
)
