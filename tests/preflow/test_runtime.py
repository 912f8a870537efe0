"""What an entrance sets for its whole process, and that the library sets nothing on import."""

import os
import subprocess
import sys

import pytest

ALLOCATING = """
import ctypes, resource
from preflow.runtime import prepare_process
prepare_process(keep_freed_memory=True)
taken = 0
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.create_string_buffer(2**26)
    ctypes.memset(block, 1, 2**26)
    del block
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(taken)
"""
ENVIRONMENT = """
import os
before = dict(os.environ)
import preflow.models, preflow.ppo.trainer
changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
assert not {"HF_DEACTIVATE_ASYNC_LOAD", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"} & set(changed), changed
from preflow.runtime import prepare_process
prepare_process()
print(os.environ["HF_DEACTIVATE_ASYNC_LOAD"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
"""


def output(program: str, **variables: str) -> str:
    names = ("HF_DEACTIVATE_ASYNC_LOAD", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**inherited, **variables}, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone")
def test_a_block_that_was_freed_is_used_again_without_asking_the_system() -> None:
    assert int(output(ALLOCATING)) < 100, "64 MB are 16,384 pages"


def test_variables_are_set_by_the_entrance_and_not_on_import() -> None:
    assert output(ENVIRONMENT).split() == ["1", "128"]
    assert output(ENVIRONMENT, ONEDNN_PRIMITIVE_CACHE_CAPACITY="64").split() == ["1", "64"], "a set one stays"
