"""What is suggested for what looks different from country to country."""

from __future__ import annotations

import pytest
from fix_catalog import catalog, table

from capture.model import ColumnName
from transform.suggest import suggest


def test_towns_that_are_called_like_people_and_house_numbers_are_parts_of_an_address() -> None:
    """The name of a column of towns is believed though the values are last names too; a house number is no street."""
    names = ["Pereira", "Campos", "Nogueira", "Moura", "Miller", "Keller", "Dubois", "Moreau", "Garcia", "Martinez"]
    samples = {
        "street": [b"Rua %d" % n for n in range(100)],
        "house_no": [b"%d" % n for n in range(100)],
        "cidade": [f"{one}-{other}".encode() for one in names for other in names],
    }
    written = suggest(
        catalog(table("public.homes", "id int8 pk", "street text", "house_no text", "cidade text")),
        {ColumnName.parse(f"public.homes.{name}"): values for name, values in samples.items()},
        None,
    )
    assert "street: address.street" in written
    assert "house_no: text.scramble" in written
    assert "cidade: address.city" in written


@pytest.mark.parametrize(("prefix", "locale"), [(b"+49 30 ", "de_DE"), (b"030 ", None), (b"+1 212 ", None)])
def test_telephone_numbers_tell_the_locale(prefix: bytes, locale: str | None) -> None:
    """Where most numbers are of one country, the rules speak its language."""
    of = catalog(table("public.guests", "phone text"))
    samples = {ColumnName.parse("public.guests.phone"): [prefix + b"%07d" % n for n in range(200)]}
    text = suggest(of, samples, None)
    assert (f"locale: {locale}" in text) if locale else ("locale:" not in text)


def test_names_and_numbers_stay_what_they_are_in_their_country() -> None:
    """Check digits stay right, and names in their script, whatever the file's own locale is."""
    schema = catalog(table("public.users", "id int8 pk", "cpf text", "tax_no text", "name text", "address text"))
    cpf, dni = ["111.444.777-35", "529.982.247-25"], ["12345678Z", "00000000T"]
    samples = {
        "cpf": cpf * 20,
        "tax_no": cpf * 20 + dni * 10,
        "name": ["山田太郎", "佐藤花子"] * 20,
        "address": ["東京都千代田区1-1", "大阪府大阪市北区2-3"] * 20,
    }
    encoded = {
        ColumnName.parse(f"public.users.{name}"): [value.encode() for value in values]
        for name, values in samples.items()
    }
    text = suggest(schema, encoded, None)
    assert "cpf: {mask: id.national, locale: pt_BR}" in text
    assert "tax_no: {mask: id.national, locale: [pt_BR, es_ES]}" in text
    assert "name: {mask: name.full, locale: ja_JP}" in text
    assert "address: {mask: address.full, locale: ja_JP}" in text
