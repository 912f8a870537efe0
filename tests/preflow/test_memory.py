"""Freed memory stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from preflow.memory import keep_freed_memory
keep_freed_memory()
taken = 0
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.create_string_buffer(2**26)
    ctypes.memset(block, 1, 2**26)
    del block
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(taken)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone")
def test_a_block_that_was_freed_is_used_again_without_asking_the_system() -> None:
    again = subprocess.run([sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert int(again) < 100, "64 MB are 16,384 pages"
