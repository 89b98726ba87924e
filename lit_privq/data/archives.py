"""Archives that data sets unpack write nothing outside the folder they are unpacked to."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unpacked_inside() -> Iterator[None]:
    """Refuse members of tar archives that would be written elsewhere, such as ``../x``, an absolute path or a link.

    Readers of data sets unpack what they fetch, and older ones without a filter. Zip archives need none: Python drops
    such parts of their names.

    Source: PEP 706.
    """
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
