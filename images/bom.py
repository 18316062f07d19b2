"""Writes the bill of materials of an image, inside it: bom.py IMAGE PYTHON, to standard output.

CycloneDX 1.6 as JSON: the distributions that the Python has, as cyclonedx-py finds them, and the
system's packages from dpkg's record. The same contents make the same bytes: no date, and the serial
number follows from what is listed.
"""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

DPKG = Path("/var/lib/dpkg/status")
RELEASE = Path("/etc/os-release")


def python_packages(python: str) -> Bom:
    """Return the bill of the distributions that a Python has."""
    tool = str(Path(sys.executable).with_name("cyclonedx-py"))
    command = [tool, "environment", "--output-reproducible", "--spec-version", "1.6", python]
    made = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Bom.from_json(json.loads(made.stdout))  # type: ignore[attr-defined]


def system_packages(status: str, release: str) -> Iterator[Component]:
    """Yield the installed packages of Debian, or of what comes from it.

    Args:
        status: What dpkg keeps in its file `status`.
        release: What `/etc/os-release` says.
    """
    system = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    name, version = (system.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
    for paragraph in status.strip().split("\n\n"):
        package = HeaderParser().parsestr(paragraph)
        if package["Status"] != "install ok installed":
            continue
        qualifiers = {"arch": package["Architecture"], "distro": f"{name}-{version}"}
        if package["Source"]:
            qualifiers["upstream"] = package["Source"].partition(" ")[0]
        purl = PackageURL("deb", name, package["Package"], package["Version"], qualifiers)
        yield Component(
            name=package["Package"],
            version=package["Version"],
            type=ComponentType.LIBRARY,
            purl=purl,
            bom_ref=purl.to_string(),
            supplier=OrganizationalEntity(name=package["Maintainer"]),
        )


def bill(image: str, python: str) -> str:
    """Return the bill of materials of the image that this runs in.

    Raises:
        ValueError: It does not keep to CycloneDX's schema.
    """
    bom = python_packages(python)
    if DPKG.exists():
        bom.components.update(system_packages(DPKG.read_text(), RELEASE.read_text()))
    name, _, version = image.rpartition(":")
    bom.metadata.component = Component(
        name=name or image, version=version, type=ComponentType.CONTAINER, bom_ref=image
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    listed = "\n".join(sorted(f"{part.purl or part.name}" for part in bom.components))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{image}\n{listed}")
    bom.metadata.timestamp = None  # type: ignore[assignment]
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise ValueError(f"The bill of materials does not keep to CycloneDX 1.6: {error}")
    return text


if __name__ == "__main__":
    sys.stdout.write(bill(*sys.argv[1:]))
