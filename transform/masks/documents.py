"""Documents: json and jsonb, and what texts hold of them, leaf by leaf, chosen by paths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from capture.model import BadInput, Column, counted
from transform import jsontext
from transform.cmac import Prf, binary_buffers
from transform.encodings import NO_ENCODING
from transform.jsonpath import Node, compile_paths
from transform.masks.base import (
    JSON,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    Params,
    Uniqueness,
    lossy,
    mask_kind,
    register,
)
from transform.masks.basic import Constant, Keep, Null
from transform.masks.choosing import merge
from transform.masks.document_keys import DocumentKeys
from transform.masks.permutation import Characters

_TEXTS: Final = frozenset({"text", "varchar"})
_QUOTE: Final = ord('"')
_BOOLEANS: Final = (b"false", b"true")
_STRINGS_TWEAK: Final = 1
_NUMBERS_TWEAK: Final = 2
_REDACTED: Final = b"[redacted]"
# How many pieces of a document stand behind its last leaf.
_AFTER_LEAVES: Final = 4

# What is done with a leaf: the number of the path that names it, or one of these.
_UNNAMED: Final = -1
_STAYS: Final = -2

# ------------------------------------------------------------------------------------------------------- leaves


def mask_leaves(mask: Mask, tokens: list[bytes]) -> list[bytes]:
    """Leaves other than null, masked. A number or a boolean stays one if the mask gives one."""
    texts = [jsontext.unquote(token) if token[0] == _QUOTE else token for token in tokens]
    masked = mask.apply(pa.array(texts, pa.binary())).to_pylist()
    return [_as_token(value, token) for value, token in zip(masked, tokens, strict=True)]


def _as_token(value: bytes | None, instead_of: bytes) -> bytes:
    if value is None:
        return b"null"
    is_string = instead_of[0] == _QUOTE
    if not is_string and (value in _BOOLEANS if instead_of in _BOOLEANS else jsontext.is_number(value)):
        return value
    return jsontext.quote(value)


def scramble_texts(prf: Prf, texts: pa.BinaryArray, encoding: str) -> list[bytes]:
    """Texts of the same length, with characters of the same classes."""
    characters = Characters(texts, encoding)
    characters.permute(prf, _STRINGS_TWEAK)
    scrambled: list[bytes] = characters.column().to_pylist()
    return scrambled


def put_back(cut: Sequence[list[bytes] | None], tokens: Sequence[bytes], after: int) -> list[bytes | None]:
    """The values that were cut, with these tokens from index 2 on in each third piece, but for the last ``after``."""
    whole: list[bytes | None] = []
    start = 0
    for pieces in cut:
        if pieces is None:
            whole.append(None)
            continue
        end = start + (len(pieces) - after) // 3
        pieces[2:-after:3] = tokens[start:end]
        whole.append(b"".join(pieces))
        start = end
    return whole


def _scramble_strings(prf: Prf, tokens: list[bytes], encoding: str) -> list[bytes]:
    # Quotes are no characters that move, so they may stay around the text.
    escaped = [number for number, token in enumerate(tokens) if b"\\" in token]
    for number in escaped:
        tokens[number] = b'"%s"' % jsontext.unquote(tokens[number])
    scrambled = scramble_texts(prf, pa.array(tokens, pa.binary()), encoding)
    for number in escaped:
        scrambled[number] = jsontext.quote(scrambled[number][1:-1])
    return scrambled


def _scramble_numbers(prf: Prf, tokens: list[bytes]) -> list[bytes]:
    numbers = _digits_of(pa.array(tokens, pa.binary()))
    numbers.permute(prf, _NUMBERS_TWEAK)
    scrambled: list[bytes] = numbers.column().to_pylist()
    return scrambled


def _digits_of(numbers: pa.BinaryArray) -> Characters:
    """The digits that may change: not the zeros that a number begins with, which say how small it is, and no
    exponent. The first digit behind those zeros does not become one."""
    characters = Characters(numbers, NO_ENCODING)
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
    """Masks the leaves of documents as ``masks`` say, by path, and all others by ``unnamed``; without it those are
    scrambled. Keys and null stay, and so does every byte that is no part of a leaf, but for what ``keys`` masks.

    Scrambled strings keep their length and the classes of their characters, numbers their sign and count of digits. A
    boolean has nothing to scramble: it is drawn anew, by the whole document that it stands in.
    """

    def __init__(
        self,
        prf: Prf,
        encoding: str,
        masks: Mapping[str, Mask] | None = None,
        unnamed: Mask | None = None,
        keys: DocumentKeys | None = None,
    ) -> None:
        self._prf = prf
        self._encoding = encoding
        self._by_path = dict(masks or {})
        self._masks = list(self._by_path.values())
        self._unnamed = unnamed
        self.root = compile_paths(list(self._by_path))
        self.keys = keys

    def __reduce__(self) -> tuple[type[Documents], tuple[object, ...]]:
        # The root may hold itself, many times over.
        return Documents, (self._prf, self._encoding, self._by_path, self._unnamed, self.keys)

    def keeps(self, path: int | None) -> bool:
        """Whether leaves of the path of that number stay as they are; None stands for those that no path names."""
        return type(self._unnamed if path is None else self._masks[path]) is Keep

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        documents = values.to_pylist()
        # Documents of a column are much alike: what is to be done with the leaves is found once for all that differ in
        # nothing else.
        known: dict[tuple[bytes, ...], list[int]] = {}
        cut: list[list[bytes] | None] = []
        tokens: list[bytes] = []
        actions: list[int] = []
        for document in documents:
            if document is None:
                cut.append(None)
                continue
            parts = jsontext.leaves_in(document)
            leads = parts[1:-4:3]
            skeleton = tuple(leads)
            found = known.get(skeleton)
            if found is None:
                found = known[skeleton] = self._actions(leads)
            actions += found
            tokens += parts[2:-4:3]
            cut.append(parts)
        if tokens:
            self._mask(tokens, np.array(actions, dtype=np.int64), documents, cut)
        masked = put_back(cut, tokens, _AFTER_LEAVES)
        if self.keys is not None:
            masked = self.keys.mask(masked)
        return pa.array(masked, pa.binary())

    def _actions(self, leads: Sequence[bytes]) -> list[int]:
        """What is done with each leaf of a document; ``leads`` is what stands before each of them."""
        actions: list[int] = []
        above: list[tuple[Node | None, int, bool]] = []
        node: Node | None = None
        action = _UNNAMED
        in_object = False
        child: Node | None = self.root
        for lead in leads:
            for key, bracket in jsontext.STRUCTURE.findall(lead):
                if key:
                    child = None if node is None else node.member(jsontext.unquote(key))
                elif bracket in b"}]":
                    node, action, in_object = above.pop()
                    child = None if node is None or in_object else node.elements
                else:
                    above.append((node, action, in_object))
                    node, action, in_object = child, self._action(child, action), bracket == b"{"
                    child = None if node is None or in_object else node.elements
            actions.append(self._action(child, action))
        return actions

    def _action(self, node: Node | None, above: int) -> int:
        if node is None or node.path is None:
            return above
        return _STAYS if type(self._masks[node.path]) is Keep else node.path

    def _mask(
        self,
        tokens: list[bytes],
        actions: npt.NDArray[np.int64],
        documents: Sequence[bytes | None],
        cut: Sequence[list[bytes] | None],
    ) -> None:
        """Replace the leaves of all documents."""
        offsets, data = binary_buffers(pa.array(tokens, pa.binary()))
        firsts = data[offsets[:-1]]
        actions[firsts == ord("n")] = _STAYS

        def replace(rows: npt.NDArray[np.int64], masked: list[bytes]) -> None:
            for row, token in zip(rows.tolist(), masked, strict=True):
                tokens[row] = token

        def those(rows: npt.NDArray[np.int64]) -> list[bytes]:
            return [tokens[row] for row in rows.tolist()]

        for action in np.unique(actions[actions >= 0]).tolist() if self._masks else ():
            rows = np.flatnonzero(actions == action)
            replace(rows, mask_leaves(self._masks[action], those(rows)))
        unnamed = np.flatnonzero(actions == _UNNAMED)
        if not unnamed.size:
            return
        if self._unnamed is not None:
            if type(self._unnamed) is not Keep:
                replace(unnamed, mask_leaves(self._unnamed, those(unnamed)))
            return
        kinds = firsts[unnamed]
        is_string, is_boolean = kinds == _QUOTE, (kinds == ord("t")) | (kinds == ord("f"))
        strings, numbers = unnamed[is_string], unnamed[~is_string & ~is_boolean]
        if strings.size:
            replace(strings, _scramble_strings(self._prf, those(strings), self._encoding))
        if numbers.size:
            replace(numbers, _scramble_numbers(self._prf, those(numbers)))
        if is_boolean.any():
            counts = [0 if parts is None else len(parts) // 3 - 1 for parts in cut]
            rows = unnamed[is_boolean]
            replace(rows, self._draw(np.repeat(np.arange(len(cut)), counts)[rows], documents))

    def _draw(self, of: npt.NDArray[np.int64], documents: Sequence[bytes | None]) -> list[bytes]:
        """Booleans for leaves of these documents, which are given in ascending order."""
        distinct, starts, which = np.unique(of, return_index=True, return_inverse=True)
        tags = self._prf.tags(pa.array([documents[row] for row in distinct.tolist()], pa.binary()))
        numbers = (np.arange(len(of)) - starts[which]) % 128
        bits = np.unpackbits(np.ascontiguousarray(tags), axis=1)[which, numbers]
        return [_BOOLEANS[bit] for bit in bits.tolist()]


class TextDocuments(Mask):
    """``documents`` for the values of a text column that are some. Others are scrambled, so that no text passes because
    it could not be read."""

    def __init__(self, prf: Prf, encoding: str, documents: Documents) -> None:
        self._prf = prf
        self._encoding = encoding
        self.documents = documents

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        are_documents = np.array([value is None or is_document(value) for value in values.to_pylist()], dtype=bool)
        if are_documents.all():
            return self.documents.apply(values)
        rows, others = np.flatnonzero(are_documents), np.flatnonzero(~are_documents)
        scrambled = pa.array(scramble_texts(self._prf, values.take(pa.array(others)), self._encoding), pa.binary())
        return merge(len(values), (rows, self.documents.apply(values.take(pa.array(rows)))), (others, scrambled))


def is_document(value: bytes) -> bool:
    """Whether a text is an object or an array of JSON, as the type json would take it."""
    if not value.lstrip(b" \t\n\r").startswith((b"{", b"[")):
        return False
    try:
        found = json.loads(value.decode(), parse_constant=_refuse, parse_int=str, parse_float=str)
        if b"\\u" in value:
            # Half of a pair is no character.
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


class DocumentParams(Params):
    """What happens to which leaf."""

    paths: dict[str, str | dict[str, Any] | None] = Field(
        default_factory=dict,
        description="A mask, or keep, for what lies at a path such as `$.a.b`, `$.a[*].b`, `$.*.b`, `$..b` or "
        '`$["odd key"]`; the deepest path that names a leaf or what holds it counts.',
    )
    keys: dict[str, str | dict[str, Any] | None] = Field(
        default_factory=dict,
        description="A mask for the keys of the object at a path, where keys are data: `$.balances: email`. Those that "
        "a path names stay.",
    )
    unnamed: Literal["scramble", "keep", "redact", "null"] | None = Field(
        default="scramble", description="What happens to leaves that no path names: scramble, keep, redact or null."
    )


_UNNAMED_MASKS: Final[dict[str | None, type[Keep | Null] | None]] = {"scramble": None, "keep": Keep, "null": Null}


def build_unnamed(named: str | None) -> Mask | None:
    """The mask of what the rules do not name; None for scramble. YAML's null is the mask of that name."""
    if named == "redact":
        return Constant(_REDACTED)
    kind = _UNNAMED_MASKS[named or "null"]
    return None if kind is None else kind()


def build_nested(rule: str | dict[str, Any] | None, build: Build, place: str, what: str) -> Mask:
    """The mask of a part of the value; ``place`` is part of its key, and ``what`` says where it is. Raises
    ``BadInput``."""
    assert build.nested is not None, "a plan builds nested masks"
    try:
        # YAML's null is the mask of that name.
        return build.nested("null" if rule is None else rule, place)
    except BadInput as error:
        raise BadInput(f"at {what}: {error.message}", hint=error.hint) from None


def build_key_mask(rule: str | dict[str, Any] | None, build: Build, place: str, what: str) -> Mask:
    """The mask of keys that are data, as ``build_nested`` makes it. Raises ``BadInput`` if it may give two keys the
    same one."""
    mask = build_nested(rule, build, place, f"the {what}")
    name = rule if isinstance(rule, str) else (rule or {}).get("mask") or "null"
    kind = mask_kind(name)
    others = {} if rule is None or isinstance(rule, str) else rule
    own = kind.params.model_validate({key: value for key, value in others.items() if key != "mask"})
    if kind.uniqueness(own, Column("", 0, 25, -1, "text", "text")) is Uniqueness.LOSSY:
        raise BadInput(
            f"the mask {name} may give two {what} the same one, and one of them would be lost.",
            hint="Choose a mask that keeps values apart, such as email, id.uuid or id.secret.",
        )
    return mask


def _build_documents(params: DocumentParams, build: Build) -> Mask:
    is_text = build.column.base_type in _TEXTS
    if is_text and build.nested is None:
        raise BadInput("the mask json works on whole columns only.")
    if is_text and build.column.max_length is not None:
        raise BadInput(
            f"a masked document may be longer than the {counted(build.column.max_length, 'character')} that the column "
            "holds.",
            hint="Use text.scramble or redact.",
        )
    masks = {path: build_nested(rule, build, path, f"the path {path!r}") for path, rule in params.paths.items()}
    keys = {
        path: build_key_mask(rule, build, f"keys of {path}", f"keys of {path!r}") for path, rule in params.keys.items()
    }
    is_jsonb = build.column.base_type == "jsonb"
    of_keys = DocumentKeys(keys, is_jsonb=is_jsonb, named=list(params.paths)) if keys else None
    documents = Documents(build.prf, build.encoding, masks, build_unnamed(params.unnamed), of_keys)
    return TextDocuments(build.prf, build.encoding, documents) if is_text else documents


register(
    MaskKind(
        name="json",
        group=Group.DOCUMENTS,
        summary="documents by path, with every leaf that no path names scrambled",
        types=JSON | _TEXTS,
        params=DocumentParams,
        build=_build_documents,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(
            Example('{"tier": "gold", "visits": 12}', {"paths": {"$.tier": "keep"}}, "jsonb"),
            Example('{"guest": {"mail": "grace@navy.mil"}}', {"paths": {"$..mail": "email"}}, "jsonb"),
        ),
        notes="Keys stay unless `keys` names their object. Where several paths name the same leaf, the deepest counts; "
        "of those equally deep the one with fewer `..`, then with fewer `.*`. A boolean that is scrambled is drawn by "
        "the whole document. In a text column, what is no object or array of JSON is scrambled.",
    )
)
