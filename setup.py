"""Maps the repository root to the package `penstock`; all metadata is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOMS = (
    "components",
    "pipelines",
    "schemas",
    "data",
    "evaluation",
    "drift",
    "metadata",
    "registry",
    "models",
    "training",
    "orchestration",
    "reports",
    "cli",
)
DATA = ["**/*.pbtxt", "**/*.yaml", "**/*.json", "**/*.html", "**/*.mako", "**/README.md"]


class BuildWithoutSetup(build_py):
    """Keep this file out of the wheel: it lies in the package's own folder."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """List the modules of a package as (package, name, file), this one left out."""
        return [m for m in super().find_package_modules(package, package_dir) if m[1] != "setup"]


root = Path(__file__).parent
setup(
    package_dir={"penstock": "."},
    packages=["penstock"]
    + [
        f"penstock.{name}"
        for name in find_packages(str(root), include=[f"{room}*" for room in ROOMS])
    ],
    # By room: a pattern at the root would also take what lies in tests/ or a virtual environment.
    package_data={"penstock": ["py.typed"]} | {f"penstock.{room}": DATA for room in ROOMS},
    include_package_data=False,
    cmdclass={"build_py": BuildWithoutSetup},
)
