"""A YAML file is read to plain data; whatever is wrong with it is said with file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from capture.model import BadInput
from transform.document import Document, load, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int
    password: str | int = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: dict[str, Inner]


def read(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "some.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, made_by="tezcat rules suggest")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 'x\nb: 2\n", "some.yaml:3:1: this is not valid YAML"),
        ("a:\n\tb: 1\n", "some.yaml:2:1: this is not valid YAML: found character"),
        ("a:\n\tb: 1\n", "that cannot start any token: a tab. Indent with spaces."),
        ("a: [1,\nb: 2\n", "while parsing a flow sequence that begins in line 1"),
        ("a: 1\nb: 2\na: 3\n", "some.yaml:3:1: the key a is given twice"),
        ("a:\n  12: x\n", "some.yaml:2:3: the key 12 is not a string"),
        ("a:\n  true: x\n", "the key true is not a string. Put it in quotes."),
        ("? [a, b]\n: x\n", "some.yaml:1:3: the key is not a string"),
        ("- a\n", "some.yaml:1:1: the file must hold keys"),
        ("", "is empty"),
        ("a: 1\n---\nb: 2\n", "some.yaml:2:1"),
        ("a: &x [*x]\n", "an anchor must not contain an alias of itself"),
        ("a: *y\n", "some.yaml:1:4"),
        ("a: !!python/object:os.system x\n", "some.yaml:1:4: the tag"),
        ("a: !!int twelve\n", "some.yaml:1:4"),
        ("a: !!bool twelve\n", "some.yaml:1:4"),
        (b"a: 1\nb: \xff\xfe\x00b", "some.yaml:2: this is not valid YAML"),
        (b"a: \x01", "is not valid YAML"),
        ("a: " + "[" * 5000, "some.yaml"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    """Every kind of malformed file gives one BadInput that says where."""
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    """A file that is not there is a BadInput with the command to run."""
    with pytest.raises(BadInput, match="tezcat rules suggest"):
        load(tmp_path / "rules.yaml", made_by="tezcat rules suggest")
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(BadInput, match=r"is empty[.] Remove it, and write it with `tezcat init`"):
        load(tmp_path / "empty.yaml", made_by="tezcat init")


def test_a_missing_file_of_another_tool_is_checked_for_its_name(tmp_path: Path) -> None:
    """No command of tezcat writes it."""
    with pytest.raises(BadInput, match=r"there is no file .*other.yaml. Check its name.$"):
        load(tmp_path / "other.yaml")


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    """Words that YAML 1.1 would turn into booleans, times and dates stay strings."""
    text = "no: on\ny: 12:30:00\nd: 2024-01-31\nz: 007\n"
    text += "i: -12\nf: 1.5\nh: 0x1F\nb: true\nn: null\ne:\nt: ~\ns: '1'\nv: 1.2.3\n"
    assert read(tmp_path, text).data == {
        "no": "on", "y": "12:30:00", "d": "2024-01-31", "z": "007", "i": -12, "f": 1.5, "h": 31, "b": True,
        "n": None, "e": None, "t": None, "s": "1", "v": "1.2.3",
    }  # fmt: skip


def test_every_entry_has_its_place(tmp_path: Path) -> None:
    """A path leads to its key's line and column; steps that are not there are passed over."""
    document = read(tmp_path, "a:\n  b: [1, {c: 2}]\nd: &x {e: 1}\nf: *x\n")
    path = document.path
    assert document.at(("a", "b")) == f"{path}:2:3"
    assert document.at(("a", "b", 1, "c")) == f"{path}:2:11"
    assert document.at(("a", "nothing")) == f"{path}:1:1"
    assert document.at(("a", "union-member", "b", 0)) == f"{path}:2:7"
    assert document.data["f"] == {"e": 1}


def test_validation_errors_say_where_in_plain_words(tmp_path: Path) -> None:
    """What a model refuses is one paragraph with place and dotted path."""
    document = read(tmp_path, "items:\n  a: {count: hunter2}\n  b: {}\n  c: {count: 1, colour: red}\n")
    with pytest.raises(BadInput) as caught:
        validate(document, Outer)
    message = str(caught.value)
    assert "some.yaml:2:7: items.a.count: it should be a whole number" in message
    assert "some.yaml:3:3: count is missing in items.b." in message
    assert "some.yaml:4:17: items.c.colour is not known here." in message
    assert "pydantic" not in message


def test_validation_errors_hold_no_values(tmp_path: Path) -> None:
    """A value of the file is never echoed: it may be a password."""
    document = read(tmp_path, "items:\n  a: {count: hunter2, password: [hunter2]}\n")
    with pytest.raises(BadInput) as caught:
        validate(document, Outer)
    assert "hunter2" not in str(caught.value)


def test_many_errors_are_cut_short(tmp_path: Path) -> None:
    """Only the first few errors are listed, with the number of the others."""
    lines = "".join(f"  k{number}: {{}}\n" for number in range(12))
    with pytest.raises(BadInput, match="and 7 more errors"):
        validate(read(tmp_path, "items:\n" + lines), Outer)


def test_a_valid_document_is_the_model(tmp_path: Path) -> None:
    """What is right comes back typed."""
    assert validate(read(tmp_path, "items: {a: {count: 3}}"), Outer).items["a"].count == 3
