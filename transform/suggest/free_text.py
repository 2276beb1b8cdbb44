"""People in running text, as Presidio sees them: an optional extra, ``pip install tezcat[presidio]``.

It is asked only about texts that would else be kept. Nothing is downloaded: without the package, or without a model of
spaCy beside it, nothing is found, and the latter is said once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, Final

import structlog

log = structlog.get_logger()

# The best first. Presidio would fetch the first one by itself where it is missing.
_MODELS: Final = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_ENTITIES: Final = ["PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS", "IBAN_CODE", "CREDIT_CARD", "US_SSN"]
_SURE: Final = 0.6
_LOOKED_AT: Final = 200


def people_in(texts: Iterable[str]) -> int:
    """In how many of the texts (a few hundred are looked at) somebody is named; 0 if nobody can tell."""
    analyzer = _analyzer()
    if analyzer is None:
        return 0
    return sum(
        bool(analyzer.analyze(text=text, entities=_ENTITIES, language="en", score_threshold=_SURE))
        for text in islice(texts, _LOOKED_AT)
    )


@cache
def _analyzer() -> Any | None:
    try:
        presidio = import_module("presidio_analyzer")
        engines = import_module("presidio_analyzer.nlp_engine")
        spacy = import_module("spacy.util")
    except ImportError:
        return None
    model = next((name for name in _MODELS if spacy.is_package(name)), None)
    if model is None:
        log.warning("presidio has no model, so texts are judged without it", models=", ".join(_MODELS))
        return None
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    engine = engines.NlpEngineProvider(nlp_configuration=configuration).create_engine()
    return presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
