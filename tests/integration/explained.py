"""What every error must be to the one who reads it."""

from __future__ import annotations

import re
from typing import Final

from tests.integration.conftest import PASSWORD, Ended

CLONE: Final = ("clone", "--source", "production", "--target", "test")
CHECK: Final = ("source", "check", "--environment", "production")


def assert_explained(ended: Ended, code: int | set[int], *words: str) -> None:
    """One paragraph that says all of ``words``, no traceback, no password, no canary."""
    assert ended.code in (code if isinstance(code, set) else {code}), str(ended)
    paragraph = (ended.err.strip() or ended.out.strip()) if ended.code == 1 else ended.err.strip()
    assert paragraph, "nothing on stderr"
    assert "\n\n" not in paragraph, str(ended)
    assert "Traceback" not in ended.err, str(ended)
    assert "defect" not in ended.err, str(ended)
    for secret in (PASSWORD, "ss/word", "p%40ss", "5e5e5e"):
        assert secret not in ended.out + ended.err, f"the secret {secret} is shown"
    text = re.sub(r"\s+", " ", ended.err + ended.out)
    for word in words:
        assert word.lower() in text.lower(), f"{word!r} is not in: {text}"
