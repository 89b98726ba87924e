"""What every section hands to the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_privq.report.figures import Drawing


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Args:
        name: of its template ``sections/<name>.html.j2``, and its address on the page.
        heading: its title, also in the list of contents.
        values: what the template shows, by the names it uses.
        drawings: its figures, in the order they are shown.
    """

    name: str
    heading: str
    values: Mapping[str, Any] = field(default_factory=dict)
    drawings: tuple[Drawing, ...] = ()
