"""Names of columns and tables are read word by word, however they are written."""

from __future__ import annotations

import pytest

from transform.suggest.category import Category
from transform.suggest.names import by_comment, by_name, lists_people, lists_things, tokens


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("guestEmail", Category.EMAIL),
        ("E_MAIL", Category.EMAIL),
        ("IPAddress", Category.IP),
        ("téléphone", Category.PHONE),
        ("Straße", Category.STREET),
        ("house_no", Category.HOUSE_NUMBER),
        ("Hausnummer", Category.HOUSE_NUMBER),
        ("マイナンバー", Category.PERSONAL_NUMBER),
        ("メールアドレス", Category.EMAIL),
        ("パスワード", Category.SECRET),
        ("フリガナ", Category.FULL_NAME),
        ("姓", Category.LAST_NAME),
        ("key_hash", Category.SECRET),
        ("fecha_nacimiento", Category.BIRTH),
        ("tax_id", Category.PERSONAL_NUMBER),
        ("message_id", None),
        ("message_no", None),
        ("phone_no", Category.PHONE),
        ("passport_num", Category.PERSONAL_NUMBER),
        ("telefonNr", Category.PHONE),
        ("Lieferadresse", Category.ADDRESS),
        ("birth_year", Category.BIRTH),
        ("birth_country", Category.PLAIN),
        ("geburtsjahr", Category.BIRTH),
        ("hiv_status", Category.SENSITIVE),
        ("電話番号", Category.PHONE),
        ("CUST_FRST_NM", Category.FIRST_NAME),
        ("CALLING_NBR", Category.PHONE),
        ("city_name", Category.CITY),
        ("file_nm", Category.PLAIN),
        ("płeć", Category.GENDER),
        ("kenteken", Category.PLATE),
        ("burgerlijke_staat", Category.SENSITIVE),
        ("nr_dowodu", Category.PERSONAL_NUMBER),
        ("deviceName", Category.USERNAME),
        ("created_by", Category.USERNAME),
        ("uploaded_by", Category.PERSON),
        ("pin_tries", Category.PLAIN),
        ("doc_number", Category.PERSONAL_NUMBER),
        ("dokumentnummer", Category.PERSONAL_NUMBER),
        ("moved_by", Category.PERSON),
        ("sort_by", None),
        ("busDriver", Category.PERSON),
        ("Sachbearbeiter_2", Category.PERSON),
        ("driver_version", Category.PLAIN),
        ("PRSCRBR", Category.PERSON),
        ("CLMNT_NM", Category.FULL_NAME),
        ("badge_name", Category.FULL_NAME),
        ("trainee_naam", Category.FULL_NAME),
        ("string_nm", Category.NAME),
        ("phone_type", Category.PLAIN),
        ("zzz", None),
        ("", None),
    ],
)
def test_names_are_read_in_several_spellings(name: str, category: Category | None) -> None:
    """Case styles, accents and languages lead to the same categories."""
    assert by_name(name) is category


def test_words_are_told_apart() -> None:
    """The parts of the vocabulary do what the proposal stands on."""
    assert tokens("HTTPServer_address2") == ("http", "server", "address", "2")
    assert tokens("emailaddress") == ("email", "address")
    assert by_comment("the type of the note") is None
    assert lists_people("hotel_guests")
    assert not lists_people("rooms")
    assert not lists_people("customer_types")
    assert lists_things("customer_types")
    assert lists_people("trabajadores")
    assert lists_things("ar_internal_metadata")
    assert by_name("held_by", frozenset({Category.BIRTH})) is None
    assert tokens("HLDR_MSTR") == ("holder", "master")
