"""tezcat.yaml: what is read, what is refused, and that no secret shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput, Refused
from control.settings import EnvironmentType, Settings, load_settings, parse_duration, parse_size

KEY = "00112233445566778899aabbccddeeff" * 2
GOOD = """\
environments:
  production: {type: production, database_url: env:PRODUCTION_URL}
  test: {type: test, database_url: "postgresql://tezcat:s3cret@localhost:5433/test"}
key: file:tezcat.key
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a settings file, and give its path."""

    def make(text: str) -> Path:
        path = tmp_path / "tezcat.yaml"
        path.write_text(text)
        return path

    return make


@pytest.fixture
def settings(write: Write) -> Settings:
    """The settings of ``GOOD``."""
    return load_settings(write(GOOD))


def test_what_is_not_written_has_its_default(settings: Settings, tmp_path: Path) -> None:
    """Publication, rules, state and snapshot may be left out."""
    assert settings.publication == "tezcat"
    assert settings.rules == tmp_path / "rules.yaml"
    assert settings.state == tmp_path / ".tezcat"
    assert settings.snapshot.workers == 2
    assert settings.snapshot.chunk_bytes == 64 * 1024 * 1024
    assert settings.snapshot.max_age == timedelta(hours=1)


def test_relative_paths_start_at_the_file(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not at the folder where the command runs."""
    path = write(GOOD + "rules: ../shared/rules.yaml\nstate: /var/lib/tezcat\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_settings(Path("../tezcat.yaml"))
    assert settings.rules.resolve() == (path.parent / "../shared/rules.yaml").resolve()
    assert settings.rules.is_absolute()
    assert settings.state == Path("/var/lib/tezcat")


def test_a_url_is_read_from_its_variable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` is looked up when the environment is asked for."""
    monkeypatch.setenv("PRODUCTION_URL", "postgresql://reader:pw@db/app")
    production = settings.production("production")
    assert production.type is EnvironmentType.PRODUCTION
    assert production.database_url.get_secret_value() == "postgresql://reader:pw@db/app"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_unset_variable_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """With the place in the file that asks for it."""
    monkeypatch.delenv("PRODUCTION_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("PRODUCTION_URL", value)
    with pytest.raises(BadInput, match=r"tezcat\.yaml:2:\d+: .*PRODUCTION_URL is not set"):
        settings.environment("production")


def test_an_unset_variable_matters_only_to_its_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not touch production needs not its variable."""
    monkeypatch.delenv("PRODUCTION_URL", raising=False)
    assert settings.target("test").name == "test"


def test_an_unknown_environment_is_told_with_the_known_ones(settings: Settings) -> None:
    """So that the user sees the spelling."""
    with pytest.raises(BadInput, match=r"no environment named tset.*production, test"):
        settings.target("tset")


def test_production_is_refused_as_a_target(settings: Settings) -> None:
    """Even though its URL is not set: the type alone decides."""
    with pytest.raises(Refused, match="never written to"):
        settings.target("production")


def test_a_copy_is_no_source(settings: Settings) -> None:
    """Only production is read from."""
    with pytest.raises(BadInput, match="environment test is of type test"):
        settings.production("test")


def test_the_one_production_needs_no_name(settings: Settings, write: Write) -> None:
    """Where there are two, the user must say which."""
    assert settings.only_production() == "production"
    two = GOOD.replace("key:", '  other: {type: production, database_url: "postgresql://db/other"}\nkey:')
    with pytest.raises(BadInput, match="several production environments: production, other"):
        load_settings(write(two)).only_production()


def test_nothing_shows_a_password(settings: Settings) -> None:
    """Neither the settings nor an environment of them."""
    shown = repr(settings) + repr(settings.environment("test")) + str(settings)
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (GOOD + "snapshot: {workers: 0}\n", "5:", "greater than or equal to 1"),
        (GOOD + "snapshot: {chunk_bytes: 64 parsecs}\n", "5:", "like 64MiB"),
        (GOOD + "snapshot: {max_age: soon}\n", "5:", "like 1h"),
        (GOOD + "pubication: x\n", "5:1", "pubication is not known here. Did you mean publication?"),
        (GOOD.replace("type: test", "type: staging"), "3:", "'production', 'test', 'training' or 'development'"),
        (GOOD.replace("env:PRODUCTION_URL", '"env:"'), "2:", "must follow env:"),
        (GOOD.replace("env:PRODUCTION_URL", "nonsense"), "2:", "connection string"),
        (GOOD.replace("file:tezcat.key", KEY), "4:1", "name where the key is"),
        (GOOD.replace("key: file:tezcat.key\n", ""), "1:1", "key is missing"),
        (GOOD.replace("test: {type", "te st: {type"), "3:", "pattern"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write: Write, text: str, place: str, says: str) -> None:
    """File, line and column, and no value."""
    with pytest.raises(BadInput) as caught:
        load_settings(write(text))
    assert f"tezcat.yaml:{place}" in str(caught.value)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_slot_belongs_to_one_environment(settings: Settings, write: Write) -> None:
    """Names that would give the same slot are refused; a long one is cut to what PostgreSQL takes."""
    assert settings.slot_name("Test-EU.1") == "tezcat_test_eu_1"
    assert len(settings.slot_name("x" * 63)) == 63
    alike = GOOD.replace("key:", '  Test: {type: test, database_url: "postgresql://db/other"}\nkey:')
    with pytest.raises(BadInput, match="test and Test would share the slot tezcat_test"):
        load_settings(write(alike))


def test_the_key_is_read_where_the_settings_say(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file beside the settings, a variable, or a command's output: the same key."""
    (tmp_path / "tezcat.key").write_text(KEY)
    (tmp_path / "tezcat.key").chmod(0o600)
    monkeypatch.setenv("THE_KEY", KEY)
    for reference in ("file:tezcat.key", "env:THE_KEY", f"command:echo {KEY}"):
        settings = load_settings(write(GOOD.replace("file:tezcat.key", reference)))
        assert settings.root_key() == bytes.fromhex(KEY)
        assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 1 << 26), ("1GB", 10**9), ("1.5 KiB", 1536), ("8192", 8192), (8192, 8192)]
)
def test_sizes_have_units(text: object, size: int) -> None:
    """Binary and decimal ones; a plain number counts bytes."""
    assert parse_size(text) == size


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_time_spans_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """Each part counts with its unit."""
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h {minutes}m {seconds}s") == expected


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,40}[a-zA-Z]{0,3}", fullmatch=True))
def test_other_text_raises_only_value_errors(text: str) -> None:
    """Nothing else is raised, so a wrong file always becomes one paragraph."""
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(ValueError):
            parse(text)
