"""What people wrote beside the rules is still there when rules are suggested again."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_catalog import catalog, table

from transform.document import load
from transform.rules import load_rules
from transform.suggest import suggest
from transform.suggest.comments import left_out

_CATALOG = catalog(
    table("public.guests", "id int8 pk", "email text", "notes text"), table("public.rooms", "id int8 pk")
)
_FILE = """\
# Rules for every column: keep, null, a mask, or todo. A column that is undecided or todo blocks the run.
# Agreed with the works council in May.
version: 1  # the only one

# Ask Anna before you change these.
tables:

  # People.
  # All of them.
  public.guests:  # who stay here
    # Nobody knows a guest by it.
    columns:
      id: keep  # '#1'
      # It may hold: a "#" sign.
      notes:
        mask: text.regex
        pattern: '[ #] #+'  # as the letters have it
        # replaced by nothing
        replacement: "# #"
      email:
        mask: email
  public.rooms: {columns: {id: keep}}  # no people
# the end
"""


def lost(path: Path, before: str, after: str) -> list[str]:
    """Which comments one text has and another has not."""
    documents = []
    for text in (before, after):
        path.write_text(text)
        documents.append(load(path))
    return left_out(*documents)


def again(path: Path, text: str) -> str:
    """What suggesting once more makes of a file."""
    path.write_text(text)
    return suggest(_CATALOG, {}, load_rules(path))


def test_comments_stay_with_what_they_are_about(tmp_path: Path) -> None:
    """Above it and beside it; what stood inside a rule, which is written on one line, is above it."""
    text = again(tmp_path / "rules.yaml", _FILE)
    assert text.splitlines()[2:] == [
        "# Agreed with the works council in May.",
        "version: 1  # the only one",
        "# Ask Anna before you change these.",
        "tables:",
        "  # People.",
        "  # All of them.",
        "  # Nobody knows a guest by it.",
        "  public.guests:  # who stay here",
        "    columns:",
        "      id: keep  # '#1'",
        "      email: email",
        '      # It may hold: a "#" sign.',
        "      # as the letters have it",
        "      # replaced by nothing",
        "      notes: {mask: text.regex, pattern: '[ #] #+', replacement: '# #'}",
        "  public.rooms:  # no people",
        "    columns:",
        "      id: keep",
        "# the end",
    ]
    assert lost(tmp_path / "rules.yaml", _FILE, text) == []
    assert again(tmp_path / "rules.yaml", text) == text


def test_evidence_stays_too(tmp_path: Path) -> None:
    """Of columns that are decided now; of those that are not, it is that of today."""
    text = "version: 1\ntables: {public.rooms: {columns: {id: keep}}}\n"
    once = again(tmp_path / "rules.yaml", text)
    assert any("#" in line for line in once.splitlines()[3:])
    assert again(tmp_path / "rules.yaml", once) == once


def test_what_has_no_place_is_told(tmp_path: Path) -> None:
    """A comment of a table that is gone; not tezcat's own words about it."""
    old = "  public.old:\n    columns:\n      # the oldest\n      id: keep  # as ever\n"
    text = _FILE.replace("  public.rooms", f"{old}  public.rooms")
    once = again(tmp_path / "rules.yaml", text)
    assert lost(tmp_path / "rules.yaml", text, once) == ["# the oldest", "# as ever"]
    assert once.splitlines()[-2:] == [
        "# Rules left away, because no table that is copied has what they name:",
        "#   public.old",
    ]
    twice = again(tmp_path / "rules.yaml", once)
    assert lost(tmp_path / "rules.yaml", once, twice) == []
    assert twice.splitlines()[-1] == "# the end"


def test_evidence_of_what_is_gone_is_nobodys_comment(tmp_path: Path) -> None:
    """Only what a person wrote is missed."""
    evidence = ("as public.guests.id", "name: first name", "no values; hidden to be safe", "of a thing", "email: 3/9")
    said = [*evidence, "name: as in the passport", "as agreed"]
    columns = "".join(f"      c{number}: keep  # {text}\n" for number, text in enumerate(said))
    before = f"version: 1\ntables:\n  public.gone:\n    columns:\n{columns}"
    assert lost(tmp_path / "rules.yaml", before, "version: 1\n") == ["# name: as in the passport", "# as agreed"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_in_another_encoding_keeps_them(tmp_path: Path, encoding: str) -> None:
    """YAML may be written so."""
    path = tmp_path / "rules.yaml"
    path.write_bytes(_FILE.encode(encoding))
    assert "# Agreed with the works council in May." in suggest(_CATALOG, {}, load_rules(path)).splitlines()
