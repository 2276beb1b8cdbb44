"""YAML files as plain data that still knows its places.

``load`` reads a file to dicts, lists and scalars; ``Document.at`` tells the line and column of any part of it, and
``validate`` turns it into a pydantic model. All that can be wrong with a file is one ``BadInput`` that names file,
line and column. Keys are echoed in it, values never: a value may be a password.

Scalars follow YAML 1.2's core schema, not PyYAML's 1.1: ``no``, ``on``, ``12:30`` and ``2024-01-31`` are strings, and
so is ``007``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from capture.model import BadInput, counted

try:
    from yaml import CSafeLoader as _FastLoader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _FastLoader  # type: ignore[assignment]  # the same, only slower

Key: TypeAlias = str | int
Entries: TypeAlias = dict[Key, tuple[yaml.Mark, yaml.Node]]
ModelT = TypeVar("ModelT", bound=BaseModel)

_ERRORS_SHOWN: Final = 5
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NULL_TAG: Final = "tag:yaml.org,2002:null"
_SCALAR_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}


class _Loader(_FastLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    # PyYAML files an empty scalar under the first character ''.
    _firsts = ["" if character == "\0" else character for character in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _firsts)


@dataclass(frozen=True, slots=True)
class Document:
    """A loaded file: ``text`` is what it holds, ``data`` what that means, ``at`` its places."""

    path: Path
    text: str = field(repr=False)
    data: dict[str, Any]
    root: yaml.MappingNode
    _entries: dict[int, Entries] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, place: Sequence[Key] = ()) -> str:
        """``file:line:column`` of the entry that ``place`` leads to (of its key, where it has one).

        Steps that the file does not hold are passed over, so a missing entry is placed at what should hold it.
        """
        return _position(self.path, self._find(place)[0])

    def dotted(self, place: Sequence[Key]) -> str:
        """The keys of ``place`` that the file holds, joined with dots."""
        return ".".join(str(key) for key in self._find(place)[1])

    def _find(self, place: Sequence[Key]) -> tuple[yaml.Mark, list[Key]]:
        node: yaml.Node = self.root
        mark = node.start_mark
        held: list[Key] = []
        for key in place:
            if id(node) not in self._entries:
                self._entries[id(node)] = _entries(node)
            child = self._entries[id(node)].get(key)
            if child is not None:
                mark, node = child
                held.append(key)
        return mark, held


def load(path: Path, *, made_by: str = "") -> Document:
    """Read a YAML file whose top is a mapping; ``made_by`` is the command of tezcat that writes such a file, if any.

    Raises ``BadInput`` when it is missing, unreadable, malformed, or holds duplicate or non-string keys.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        hint = f"Write it with `{made_by}`, or name another file." if made_by else "Check its name."
        raise BadInput(f"there is no file {path}.", hint=hint) from None
    except OSError as error:
        raise BadInput(f"the file {path} cannot be read: {error.strerror}.") from None
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                hint = f"Remove it, and write it with `{made_by}`." if made_by else ""
                raise BadInput(f"the file {path} is empty.", hint=hint)
            if not isinstance(root, yaml.MappingNode):
                raise BadInput(f"{_position(path, root.start_mark)}: the file must hold keys with values.")
            data = _construct(loader, path, root, {}, set())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise BadInput(_malformed(path, text, error)) from None
    except yaml.YAMLError as error:  # a character or an encoding that YAML does not allow
        line = text.count(b"\n", 0, getattr(error, "position", 0)) + 1
        hint = "It must be UTF-8 text without control characters."
        raise BadInput(f"{path}:{line}: this is not valid YAML: a character that none may hold.", hint=hint) from None
    except RecursionError:
        raise BadInput(f"the file {path} is nested too deeply.") from None
    assert isinstance(data, dict)
    return Document(path, text.decode("utf-16" if text.startswith(_UTF_16) else "utf-8-sig"), data, root)


def tokens(document: Document) -> Iterable[yaml.Token]:
    """What the file's text is made of, with its places; comments are none of it."""
    return yaml.scan(document.text, Loader=_FastLoader)


def validate(document: Document, model: type[ModelT]) -> ModelT:
    """The document as ``model``. Raises ``BadInput`` that places and explains the first few errors."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)
    known = set(_keys(model))
    lines = _unique(_explain(document, finding, known) for finding in findings)
    shown = lines[:_ERRORS_SHOWN]
    if len(lines) > len(shown):
        shown.append(f"and {counted(len(lines) - len(shown), 'more error')}.")
    if len(shown) == 1:
        raise BadInput(shown[0])
    raise BadInput("\n".join([f"the file {document.path} has errors:", *(f"  {line}" for line in shown)]))


def _malformed(path: Path, text: bytes, error: yaml.MarkedYAMLError) -> str:
    mark, begun = error.problem_mark or error.context_mark, error.context_mark
    where = _position(path, mark) if mark is not None else str(path)
    what = f"{where}: this is not valid YAML: {error.problem or error.context}"
    if begun is not None and mark is not None and begun.line != mark.line:
        # The parser often sees a mistake lines after it was made.
        what += f", {error.context} that begins in line {begun.line + 1}"
    lines = text.splitlines()
    has_tab = mark is not None and mark.line < len(lines) and lines[mark.line][mark.column :].startswith(b"\t")
    return what + (": a tab. Indent with spaces." if has_tab else ".")


def in_words(finding: Any) -> str:
    """What one of pydantic's ``ErrorDetails`` says, in plain words and without the input; ends without a full stop."""
    message = str(finding["msg"]).rstrip(".")
    match finding["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "value_error" | "assertion_error":
            return message.partition(", ")[2]
        case "dict_type" | "model_type":
            return "it should hold keys with values"
        case "list_type" | "tuple_type":
            return "it should be a list, [A, B]"
        case "int_type" | "int_parsing" | "int_from_float":
            return "it should be a whole number"
        case "string_type":
            return "it should be a text"
        case _:
            # Pydantic says "Input should be ..."; the input is what the dotted path names.
            return re.sub(r"^Input ", "it ", message)


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """All keys that a document may have, at whatever place."""
    waiting: list[Any] = [model]
    seen: set[Any] = set()
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
            seen.add(kind)
            yield from (field.alias or name for name, field in kind.model_fields.items())
            waiting += [field.annotation for field in kind.model_fields.values()]
        waiting += get_args(kind)


def _explain(document: Document, finding: Any, known: set[str]) -> str:
    """One pydantic error with its place; ``known`` are the keys that a misspelt one may be meant to be."""
    place = tuple(finding["loc"])
    where, dotted = document.at(place), document.dotted(place)
    message = in_words(finding)
    match finding["type"]:
        case "missing":
            inside = f" in {dotted}" if dotted else ""
            return f"{where}: {place[-1]} {message}{inside}."
        case "extra_forbidden":
            near = get_close_matches(str(place[-1]), known, n=1)
            return f"{where}: {dotted} {message}.{f' Did you mean {near[0]}?' if near else ''}"
        case _:
            return f"{where}: {dotted}: {message}." if dotted else f"{where}: {message}."


def _unique(lines: Iterable[str]) -> list[str]:
    """Without repetitions: a union of types reports one mistake once per member."""
    return list(dict.fromkeys(lines))


def _construct(loader: Any, path: Path, node: yaml.Node, built: dict[int, Any], open_nodes: set[int]) -> Any:
    """Plain data of a node. An alias shares what its anchor built; ``open_nodes`` catches one that holds itself."""
    if id(node) in built:
        return built[id(node)]
    if id(node) in open_nodes:
        raise BadInput(f"{_position(path, node.start_mark)}: an anchor must not contain an alias of itself.")
    open_nodes.add(id(node))
    data: Any
    if isinstance(node, yaml.MappingNode):
        data = {}
        for key_node, value_node in node.value:
            key = _key(path, key_node)
            if key in data:
                raise BadInput(f"{_position(path, key_node.start_mark)}: the key {key} is given twice.")
            data[key] = _construct(loader, path, value_node, built, open_nodes)
    elif isinstance(node, yaml.SequenceNode):
        data = [_construct(loader, path, item, built, open_nodes) for item in node.value]
    else:
        data = _scalar(loader, path, node)
    open_nodes.discard(id(node))
    built[id(node)] = data
    return data


def _key(path: Path, node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
        return str(node.value)
    shown = f" {node.value}" if isinstance(node, yaml.ScalarNode) else ""
    hint = "Put it in quotes." if shown else ""
    raise BadInput(f"{_position(path, node.start_mark)}: the key{shown} is not a string.", hint=hint)


def _scalar(loader: Any, path: Path, node: yaml.Node) -> Any:
    if node.tag not in _SCALAR_TAGS:
        raise BadInput(f"{_position(path, node.start_mark)}: the tag {node.tag} is not supported; leave it away.")
    try:
        return None if node.tag == _NULL_TAG else loader.construct_object(node)
    except (ValueError, KeyError):  # an explicit tag over a scalar that is none of its kind
        raise BadInput(f"{_position(path, node.start_mark)}: the value does not fit its tag {node.tag}.") from None


def _entries(node: yaml.Node) -> Entries:
    """The place and the node of each entry of a mapping or sequence."""
    match node:
        case yaml.MappingNode():
            return {str(key.value): (key.start_mark, value) for key, value in node.value}
        case yaml.SequenceNode():
            return {number: (item.start_mark, item) for number, item in enumerate(node.value)}
        case _:
            return {}


def _position(path: Path, mark: yaml.Mark) -> str:
    """Short where the file lies below the working directory; such a place is as good, and there are many in a list."""
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{mark.line + 1}:{mark.column + 1}"
