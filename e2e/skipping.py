"""A skip of a test in Python, as skipped beside it says it."""
import os, subprocess

SAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "skipped")


def skipped(need, why):
    """Whether the skip is allowed: not where WHOSTALLED_REQUIRE names what is missing."""
    return subprocess.run(["bash", SAY, need, why]).returncode == 0
