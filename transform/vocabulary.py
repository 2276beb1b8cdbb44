"""What the names and the values of columns tell about their meaning.

Names are cut into words (snake and camel case) and looked up in a table of terms in several languages, the most telling
first. Values are matched with patterns, and checksums where there are any. Nothing here knows masks or schemas.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final


class Category(StrEnum):
    """What a column seems to hold."""

    EMAIL = "email"
    FIRST_NAME = "first name"
    LAST_NAME = "last name"
    FULL_NAME = "full name"
    USERNAME = "username"
    PHONE = "phone"
    STREET = "street"
    CITY = "city"
    POSTCODE = "postcode"
    ADDRESS = "address"
    CARD = "card"
    IBAN = "iban"
    PERSONAL_NUMBER = "personal number"
    SECRET = "secret"  # noqa: S105 - the name of a category
    SENSITIVE = "sensitive"
    NETWORK = "network address"
    PICTURE = "picture"
    FREE_TEXT = "free text"
    BIRTH = "date of birth"
    INCOME = "income"
    MEASURE = "measure"
    COMPANY = "company"
    NAME = "name"
    PLAIN = "plain"


# The words that end a name and make it speak about a thing instead of being it: phone_type, email_verified.
_ABOUT: Final = frozenset(
    """type types kind status state format verified confirmed valid enabled count total provider brand locale lang
    language template version method mode category class level flag scheme country region timezone currency""".split()
)

# Words that end the name of a reference to a thing: message_id is no message, while tax_id is a term of its own.
_POINTERS: Final = frozenset("id uuid guid ref reference key no number nr".split())

# In order: the first term whose words stand next to each other in the name decides.
_TERMS: Final[tuple[tuple[Category, str], ...]] = (
    (
        Category.SECRET,
        """password passwd pwd passphrase secret token apikey api_key private_key access_key salt otp totp
        pin cvv cvc csrf nonce jwt session_id sessionid session_key cookie signature credential credentials passwort
        kennwort contrasena senha mot_de_passe recovery_code backup_codes webhook_key hashed_password""",
    ),
    (Category.EMAIL, "email e_mail mail emails mailto correo courriel email_address mail_address"),
    (Category.NETWORK, "ip ip_address ipaddress ip_addr remote_addr client_ip mac mac_address user_agent useragent"),
    (Category.CARD, "card_number cardnumber card_no credit_card creditcard cc_number ccnum pan kreditkarte"),
    (Category.IBAN, "iban"),
    (
        Category.PERSONAL_NUMBER,
        """ssn social_security national_id nationalid national_insurance nino passport
        passport_number passport_no id_card identity_number id_number document_number doc_number tax_id taxid
        tax_number vat_id vat_number tin cpf cnpj nif dni nie curp rfc steuernummer personalausweis license_number
        licence_number driver_license driving_license license_plate licence_plate plate kennzeichen account_number
        account_no bank_account routing_number sort_code insurance_number medical_record mrn patient_number
        loyalty_number membership_number member_number""",
    ),
    (
        Category.PHONE,
        """phone phones telephone tel mobile cell cellphone cell_phone phone_number mobile_number contact_number fax
        whatsapp msisdn telefon telefono handy portable telefone celular""",
    ),
    (
        Category.FIRST_NAME,
        """first_name firstname fname given_name givenname forename vorname prenom nombre_pila
        primer_nombre middle_name middlename middle_initial nickname preferred_name""",
    ),
    (
        Category.LAST_NAME,
        """last_name lastname lname surname family_name familyname nachname familienname apellido
        apellidos sobrenome nom_de_famille maiden_name geburtsname""",
    ),
    (
        Category.USERNAME,
        """username user_name login login_name handle screen_name screenname nick benutzername usuario
        twitter facebook instagram linkedin skype telegram""",
    ),
    (
        Category.FULL_NAME,
        """full_name fullname display_name displayname real_name person_name guest_name customer_name
        client_name contact_name patient_name employee_name owner_name holder_name cardholder cardholder_name
        card_holder author_name sender_name recipient_name user_full_name billing_name shipping_name emergency_contact
        manager_name doctor_name member_name participant_name nom_complet nombre_completo""",
    ),
    (
        Category.BIRTH,
        """birth birthday birthdate birth_date date_of_birth dob born geburtsdatum geburtstag
        fecha_nacimiento date_naissance data_nascimento death deathdate date_of_death died""",
    ),
    (
        Category.POSTCODE,
        """postcode post_code postal_code postalcode postal zip zipcode zip_code plz cep codigo_postal
        code_postal""",
    ),
    (Category.CITY, "city town locality suburb ciudad ville stadt ort cidade birthplace birth_place"),
    (
        Category.STREET,
        """street street_address address_line line1 line2 address1 address2 street1 street2 strasse
        calle rue rua house_number housenumber hausnummer""",
    ),
    (Category.ADDRESS, "address addr home_address adresse direccion endereco shipping_address billing_address"),
    (
        Category.SENSITIVE,
        """religion ethnicity ethnic race diagnosis diagnoses disability disabilities blood
        blood_type medication medications allergy allergies health medical sexual orientation political
        criminal marital marital_status""",
    ),
    (Category.PICTURE, "avatar avatar_url photo photo_url picture picture_url profile_image selfie portrait scan"),
    (Category.INCOME, "salary wage wages income net_worth credit_score gehalt lohn salario"),
    (Category.MEASURE, "latitude longitude lat lng lon height weight age"),
    (Category.COMPANY, "company_name company organisation organization employer firma empresa"),
    (
        Category.FREE_TEXT,
        """note notes comment comments body content message messages text description bio biography
        about remark remarks feedback review reviews summary transcript subject caption reason request requests
        special_requests instructions memo answer question reply notiz notizen bemerkung kommentar beschreibung
        comentario comentarios nota notas observacoes descripcion commentaire remarque snippet excerpt""",
    ),
    (Category.NAME, "name title label nombre nom"),
    (
        Category.PLAIN,
        """status type kind category code slug currency locale language lang timezone tz country region
        state province county version level priority channel color colour unit format extension mime action event
        operation schema table mode method stage phase plan tier gender sex size role sku checksum digest etag""",
    ),
)
# A term belongs to the first category that lists it.
_CATEGORY_OF: Final = {term: category for category, terms in reversed(_TERMS) for term in terms.split()}
_LONGEST_TERM: Final = max(term.count("_") + 1 for term in _CATEGORY_OF)
_PEOPLE: Final = frozenset(
    """guest customer client user person people patient employee staff member contact participant subscriber student
    teacher author owner passenger driver tenant lead applicant candidate account profile visitor resident citizen
    traveller traveler attendee voter donor child parent spouse worker doctor nurse host signup actor borrower
    kunde kunden mitarbeiter gast persona personas cliente usuario personne utilisateur pessoa""".split()
)


def tokens(name: str) -> list[str]:
    """The words of a name, in small letters and without accents: ``guestEmail_2`` is guest, email, 2."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", plain)]


def by_name(name: str) -> Category | None:
    """What a column of that name seems to hold."""
    words = tokens(name)
    if len(words) > 1 and words[-1] in _ABOUT:
        return Category.PLAIN
    if len(words) > 1 and words[-1] in _POINTERS:
        return _look_up(words, to_the_end=True)
    # line1, address2: a digit belongs to the word before it.
    return _look_up(words) or _look_up(re.sub(r" (\d)", r"\1", " ".join(words)).split())


def by_comment(comment: str) -> Category | None:
    """What a comment says that a column holds; the words that are common in comments say nothing."""
    found = _look_up(tokens(comment))
    return None if found in {Category.NAME, Category.PLAIN, Category.FREE_TEXT} else found


def _look_up(words: list[str], *, to_the_end: bool = False) -> Category | None:
    """The most telling category of which a term stands in ``words``; with ``to_the_end``, at their end."""
    found = set()
    for end in range(len(words) if to_the_end else 1, len(words) + 1):
        for start in range(max(0, end - _LONGEST_TERM), end):
            category = _CATEGORY_OF.get("_".join(words[start:end]))
            if category is not None:
                found.add(category)
    return next((category for category, _ in _TERMS if category in found), None)


def looks_personal(table: str) -> bool:
    """Whether a table of that name seems to list people."""
    return any(word in _PEOPLE or word.removesuffix("s") in _PEOPLE for word in tokens(table))


# --------------------------------------------------------------------------------------------------- values


def _luhn(value: bytes) -> bool:
    digits = [digit - 48 for digit in reversed(re.sub(rb"[ -]", b"", value))]
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _mod_97(value: bytes) -> bool:
    account = value.replace(b" ", b"").upper()
    return int("".join(str(int(chr(sign), 36)) for sign in account[4:] + account[:4])) % 97 == 1


def _always(value: bytes) -> bool:
    return True


_PATTERNS: Final[tuple[tuple[Category, re.Pattern[bytes], Callable[[bytes], bool]], ...]] = (
    (Category.EMAIL, re.compile(rb"[^\s@<>]+@[^\s@<>]+\.[A-Za-z]{2,}"), _always),
    (Category.IBAN, re.compile(rb"[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}"), _mod_97),
    (Category.CARD, re.compile(rb"[3-6](?:[ -]?\d){12,18}"), _luhn),
    (Category.NETWORK, re.compile(rb"(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"), _always),
    (Category.PHONE, re.compile(rb"(?:\+|00|\()\d[\d ()./-]{6,20}"), _always),
)
_WITHIN: Final = re.compile(rb"[^\s@<>]+@[^\s@<>]+\.[A-Za-z]{2,}")


def by_values(values: Sequence[bytes]) -> dict[Category, int]:
    """How many of the values are of a category, the most frequent first. An address inside a longer text counts."""
    counts: dict[Category, int] = {}
    for value in values:
        found = next((name for name, pattern, test in _PATTERNS if pattern.fullmatch(value) and test(value)), None)
        if found is None and _WITHIN.search(value):
            found = Category.EMAIL
        if found is not None:
            counts[found] = counts.get(found, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
