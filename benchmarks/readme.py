"""Sections of benchmarks/README.md that scripts write, between two marks each."""

import os
import platform
from importlib import metadata
from pathlib import Path

README = Path(__file__).with_name("README.md")


def write_section(name: str, text: str) -> None:
    """Replace what stands between `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{README} has no section {name}; add {begin.strip()} and {end}.")
    README.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", encoding="utf-8")


def place() -> str:
    """Return on what was measured: cores, versions, load at the end."""
    return (
        f"Measured on {os.cpu_count()} cores, Python {platform.python_version()}, tensorflow "
        f"{metadata.version('tensorflow')}, keras {metadata.version('keras')}, load average "
        f"{os.getloadavg()[0]:.1f} at the end."
    )
