"""One of a few values that the rules list, as often as they say."""

from __future__ import annotations

from math import inf
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from capture.model import BadInput
from transform.cmac import Prf
from transform.masks import literals
from transform.masks.base import ANY, Build, Example, Group, Mask, MaskKind, Params, lossy, register
from transform.masks.choosing import fold_case, lanes

_ALL: Final = 1 << 32


class Choice(Mask):
    """One of the values, picked by the tag as often as its weight says. Its ``repr`` does not show them."""

    def __init__(self, prf: Prf, values: list[bytes], weights: list[float], *, ignores_case: bool) -> None:
        self._prf = prf
        self._values = pa.array(values, type=pa.binary())
        self._folded = ignores_case
        # From where on each value but the first is picked, in a lane's numbers.
        shares = np.cumsum(weights) / sum(weights)
        self._bounds = (shares[:-1] * _ALL).astype(np.uint64)

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        lane = lanes(self._prf.tags(fold_case(values) if self._folded else values))[0]
        made = self._values.take(pa.array(np.searchsorted(self._bounds, lane.astype(np.uint64), side="right")))
        return pc.if_else(values.is_valid(), made, pa.scalar(None, pa.binary())) if values.null_count else made


class ChoiceParams(Params):
    """The values."""

    values: list[literals.Literal] | dict[literals.Literal, float] = Field(
        description="What there is to choose from, as SQL would take it: a list, or values with how often each is to "
        "come up beside the others."
    )

    @field_validator("values", mode="before")
    @classmethod
    def _are_some(cls, values: Any) -> Any:
        if not isinstance(values, list | dict):
            raise ValueError("must be a list, or values with how often each is to come up")
        if not values:
            raise ValueError("list at least one value")
        weights = values.values() if isinstance(values, dict) else ()
        if any(type(weight) not in (int, float) or not 0 < weight < inf for weight in weights):
            raise ValueError("how often a value is to come up must be a number above 0")
        return values


def _build_choice(params: ChoiceParams, build: Build) -> Mask:
    column, written = build.column, list(params.values)
    if column.kind == "e":
        if not {str(value) for value in written} <= set(column.enum_labels):
            raise BadInput(
                f"the values are not all labels of the enum {column.type_name}.",
                hint=f"Its labels are: {', '.join(column.enum_labels)}.",
            )
        values = [str(value).encode() for value in written]
    else:
        values = [literals.canonical(value, column) for value in written]
    weights = list(params.values.values()) if isinstance(params.values, dict) else [1.0] * len(values)
    return Choice(build.prf, values, weights, ignores_case=column.base_type == "citext")


register(
    MaskKind(
        name="choice",
        group=Group.ANY,
        summary="one of a few values that you list, as often as you say",
        types=ANY,
        params=ChoiceParams,
        build=_build_choice,
        uniqueness=lossy,
        examples=(
            Example("platinum", {"values": ["basic", "silver", "gold"]}),
            Example("platinum", {"values": {"basic": 90, "gold": 10}}),
        ),
        notes=f"NULL stays NULL. {literals.NOTE} How often a value comes up follows the weights only where the "
        "originals are many: equal ones become equal.",
    )
)
