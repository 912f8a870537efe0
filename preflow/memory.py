"""What becomes of memory that a process has freed.

Training frees and takes gigabytes again in every forward and backward. glibc gives large blocks back to the system at
once, and each of their pages is then cleared and mapped anew: a quarter of an update of a whole model on a virtual
machine.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's mallopt(3)


def keep_freed_memory() -> None:
    """Lets this process keep what it frees, for itself, at the price of some gaps. Does nothing without glibc."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
