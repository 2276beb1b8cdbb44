"""What a column, or a part of a document, may hold."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from transform.masks.base import DATE, NUMBER


class Category(StrEnum):
    """What a column seems to hold. The names stand in the rules file's comments."""

    EMAIL = "email"
    FIRST_NAME = "first name"
    LAST_NAME = "last name"
    FULL_NAME = "full name"
    PERSON = "person"
    USERNAME = "username"
    PHONE = "phone"
    STREET = "street"
    HOUSE_NUMBER = "house number"
    CITY = "city"
    POSTCODE = "postcode"
    REGION = "region"
    ADDRESS = "address"
    LATITUDE = "latitude"
    LONGITUDE = "longitude"
    POSITION = "position"
    CARD = "card"
    IBAN = "iban"
    BIC = "bic"
    ACCOUNT = "account number"
    PLATE = "number plate"
    PERSONAL_NUMBER = "personal number"
    SECRET = "secret"  # noqa: S105 - the name of a category
    QUERY = "statement"
    SENSITIVE = "sensitive"
    GENDER = "gender"
    IP = "ip address"
    MAC = "mac address"
    USER_AGENT = "user agent"
    URL = "url"
    PICTURE = "picture"
    FREE_TEXT = "free text"
    DESCRIPTION = "description"
    BIRTH = "date of birth"
    INCOME = "income"
    MEASURE = "measure"
    COMPANY = "company"
    NAME = "name"
    CODE = "product code"
    PLAIN = "plain"


# What says nothing by itself of a person.
NEUTRAL: Final = frozenset({Category.NAME, Category.CODE, Category.PLAIN, Category.DESCRIPTION})

_IN_DATES: Final = NEUTRAL | {Category.BIRTH}
_IN_NUMBERS: Final = NEUTRAL | {
    Category.ACCOUNT,
    Category.BIRTH,
    Category.CARD,
    Category.GENDER,
    Category.INCOME,
    Category.LATITUDE,
    Category.LONGITUDE,
    Category.MEASURE,
    Category.PERSONAL_NUMBER,
    Category.PHONE,
    Category.POSITION,
    Category.SECRET,
    Category.SENSITIVE,
}


def held_by(base_type: str) -> frozenset[Category] | None:
    """What columns of a type can hold; None for any of it. The date in ``holder_birth_date`` is no holder."""
    return _IN_DATES if base_type in DATE else _IN_NUMBERS if base_type in NUMBER else None
