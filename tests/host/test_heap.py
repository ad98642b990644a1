from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
from hermnet.host.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * 40_000_000
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = [faults() for _ in range(3)]
assert keep_freed_memory()
after = [faults() for _ in range(3)]
print(before[-1], after[-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told so")
def test_freed_memory_is_used_again_without_new_pages():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert before > 40_000_000 / 4096 / 2
    assert after < 0.01 * before
