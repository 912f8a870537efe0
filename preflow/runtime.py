"""Settings of a whole process that make training on a CPU faster and smaller."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of glibc's mallopt(3)
_ENVIRONMENT = {
    # transformers loads weights in threads, whose freed memory stays with them: 0.4 GB of a PPO run were unusable.
    "HF_DEACTIVATE_ASYNC_LOAD": "1",
    # oneDNN caches a kernel for each of the last 1024 shapes: another 0.1 GB per PPO update.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
}


def prepare_process(*, keep_freed_memory: bool = False) -> None:
    """Prepares this process for training and sampling; call it first, at the entrance of a program.

    It changes the whole process, which the library's functions do not: it sets environment variables that are not set
    yet.

    Args:
        keep_freed_memory: Whether glibc's malloc also keeps what is freed. PPO gets faster by it; a process that loads
            one model after the other only gets larger.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if keep_freed_memory:
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Stops glibc from returning freed memory to the system; does nothing without glibc.

    Training frees and takes gigabytes in every forward and backward pass. glibc returns large blocks at once, and each
    of their pages is then cleared and mapped anew: a quarter of the time of an update on a virtual machine.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
