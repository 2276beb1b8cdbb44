"""Rules of other tools as rules of ours: what converts, and what has no equal.

A conversion never gives a weaker decision silently. What is not known is ``todo``, which blocks a run, and is listed
with the reason; a mask that hides more than the original did is taken.
"""

from transform.importing.anon import from_labels
from transform.importing.greenmask import from_greenmask
from transform.importing.result import Imported, Unequal, write

__all__ = ["Imported", "Unequal", "from_greenmask", "from_labels", "write"]
