"""Files mapped into memory without keeping them open."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def map_bytes(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read only when looked at; (bytes,), not writable.

    A mapping needs no file handle, but Python's own keeps one as long as it lives (before 3.13 there is no way to ask
    it not to), and a process may usually hold 1024: an audit of two thousand models would run out of them. So this asks
    the C library itself, except on Windows.

    Raises:
        OSError: if the file cannot be read.
    """
    if sys.platform == "win32":
        return np.memmap(path, np.uint8, "r")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return np.zeros(0, np.uint8)  # nothing to map
        system = ctypes.CDLL(None, use_errno=True)
        system.mmap.restype = ctypes.c_void_p
        system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        address = system.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))
    system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    owner = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(owner, system.munmap, address, size).atexit = False
    return np.frombuffer(memoryview(owner).toreadonly(), np.uint8)


def prefetch(array: NDArray[Any]) -> None:
    """Ask the system to read the bytes of a view of a mapped file at once, and only these; does not wait for it.

    Left alone, it reads some way around every page that is touched, and where the file is larger than the memory, all
    of that is read again for the next piece. Without effect on other arrays, on Windows, or on views with gaps.
    """
    if sys.platform == "win32" or not array.flags.c_contiguous or not array.size:
        return
    first = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    system = ctypes.CDLL(None)
    system.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    system.madvise(first, array.ctypes.data + array.nbytes - first, mmap.MADV_WILLNEED)
