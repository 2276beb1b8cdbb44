"""PostgreSQL's names of encodings, and Python's.

A production in ``SQL_ASCII`` holds bytes that mean nothing beyond ASCII; that, and what Python has no name for, counts
as ASCII, which every encoding of a server holds.
"""

from __future__ import annotations

import codecs
from functools import cache
from typing import Final

NO_ENCODING: Final = "SQL_ASCII"
# Where Python's name is not PostgreSQL's, beside WIN1252 and the like.
_CODECS: Final = {"EUC_CN": "gb2312", "KOI8R": "koi8_r", "KOI8U": "koi8_u", NO_ENCODING: "ascii"}


@cache
def codec_of(encoding: str) -> str:
    """Python's name of a server's encoding."""
    try:
        return codecs.lookup(_CODECS.get(encoding, encoding.replace("WIN", "cp"))).name
    except LookupError:
        return "ascii"
