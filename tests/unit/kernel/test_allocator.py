"""Memory goes back to the system also from below something that is still in use."""

import subprocess
import sys

SCRIPT = """
import os
from pinnace.kernel import allocator

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [bytes(2000) for _ in range(100_000)]
kept = blocks[-1]
full = resident()
del blocks
allocator.give_back()
print(full - resident())
"""


def test_what_is_free_goes_back() -> None:
    environment = {"PYTHONPATH": ":".join(sys.path), "MALLOC_ARENA_MAX": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert int(run.stdout) > 150_000_000
