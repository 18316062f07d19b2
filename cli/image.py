"""`penstock image`: the images that steps run in, with a package of one's own."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from ..data.digest import digest_bytes, digest_path
from ..errors import PenstockError

BUILDERS = ("buildah", "podman", "docker")
# What lies in a package's folder and is no part of it.
LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "dist", "venv", "penstock-runs")
# The same date as the files of our own images have, so that the same package makes the same layer.
DATE = "315619200"
CONTAINERFILE = """\
FROM {base}
COPY source /opt/source
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,required=false set -eu; \\
    SOURCE_DATE_EPOCH={date} python3 -m pip install --no-cache-dir --disable-pip-version-check \\
        --constraint /opt/penstock/constraints.txt {wanted}; \\
    rm -rf /opt/source /tmp/*
ENV PENSTOCK_IMAGE={tag}
"""


def _components() -> str:
    # With it comes kfp, which takes a second.
    from ..components.image import image

    return image("components")


@dataclass(frozen=True)
class Package:
    """What is to be installed.

    Attributes:
        path: A folder with pyproject.toml or setup.py, a wheel, or a file of requirements.
        name: What to call an image with it.
        wanted: pip's arguments, the path being below /opt/source.
    """

    path: Path
    name: str
    wanted: str


@click.group()
def image() -> None:
    """Build the image that steps run in."""


@image.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--tag",
    metavar="NAME:TAG",
    help="The image's name.  [default: localhost/penstock/<package>:<digest of what goes in>]",
)
@click.option(
    "--base",
    metavar="IMAGE",
    default=_components,
    show_default="the image of the components",
    help="The image to add it to.",
)
@click.option(
    "--builder",
    type=click.Choice(BUILDERS),
    help="What builds.  [default: the first of these that is installed]",
)
@click.option(
    "--pip-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A pip.conf to install with, such as for an index of your own; not kept in the image.",
)
def build(
    source: Path, tag: str | None, base: str, builder: str | None, pip_config: Path | None
) -> None:
    """Add a package to the image of the components: SOURCE and what it requires.

    SOURCE is a folder with pyproject.toml or setup.py, a wheel, or a file of requirements (.txt).
    What the image holds already keeps its version: a package that needs another one is refused.
    """
    package = read_package(source)
    chosen = choose_builder(builder)
    base_id = _image_id(chosen, base)
    with tempfile.TemporaryDirectory(prefix="penstock-image-") as folder:
        context = Path(folder)
        _copy(package.path, context / "source")
        name = tag or _content_name(package, context / "source", base_id)
        _build(chosen, context, package, base, name, pip_config)
    click.echo(f"Built {name}. Compile with it:")
    click.echo(f"  export PENSTOCK_IMAGE_COMPONENTS={name}")


def read_package(source: Path) -> Package:
    """Say what a path is, for pip.

    Raises:
        PenstockError: It is nothing that can be installed.
    """
    name = re.sub(r"[^a-z0-9]+", "-", source.absolute().name.lower()).strip("-")
    if source.is_dir():
        if not any((source / file).is_file() for file in ("pyproject.toml", "setup.py")):
            raise PenstockError(
                f"{source} is no package: it has neither pyproject.toml nor setup.py; add one, or "
                "give a wheel or a file of requirements (.txt)."
            )
        return Package(source, name, "/opt/source")
    if not source.is_file():
        raise PenstockError(
            f"There is nothing at {source}; give a folder with pyproject.toml or setup.py, a "
            "wheel, or a file of requirements (.txt)."
        )
    if source.suffix == ".whl":
        return Package(source, name.split("-")[0], f"/opt/source/{source.name}")
    if source.suffix == ".txt":
        return Package(
            source, name.removesuffix("-txt"), f"--requirement /opt/source/{source.name}"
        )
    raise PenstockError(
        f"{source} is neither a wheel (.whl) nor a file of requirements (.txt); give one of them, "
        "or a folder with pyproject.toml or setup.py."
    )


def choose_builder(name: str | None) -> str:
    """Return what builds images here: the one asked for, or the first that is installed.

    Raises:
        PenstockError: It is not installed, or none is.
    """
    if name is None:
        found = next((builder for builder in BUILDERS if shutil.which(builder)), None)
        if found is None:
            raise PenstockError(
                "Neither buildah, podman nor docker is installed; install one of them (Debian and "
                "Ubuntu: apt install buildah)."
            )
        return found
    if shutil.which(name) is None:
        raise PenstockError(f"{name} is not installed; install it, or leave out --builder.")
    return name


def _image_id(builder: str, base: str) -> str:
    """Return the digest by which a builder knows an image, pulling it where it is not here."""
    kind = ["--type", "image"] if builder == "buildah" else []
    field = "{{.FromImageID}}" if builder == "buildah" else "{{.Id}}"
    command = [builder, *([] if builder == "buildah" else ["image"]), "inspect", *kind]
    command += ["--format", field, base]
    found = _run(command)
    if found.returncode != 0:
        pulled = _run([builder, "pull", base])
        if pulled.returncode == 0:
            found = _run(command)
    if found.returncode != 0:
        raise PenstockError(
            f"There is no image {base} here and no registry gave it ({_last_line(found.stderr)}); "
            "build it with `make images`, or name another one with --base."
        )
    return found.stdout.strip()


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns(*LEFT_OUT))
    else:
        destination.mkdir()
        shutil.copy(source, destination)


def _content_name(package: Package, source: Path, base_id: str) -> str:
    content = f"{base_id}\n{package.wanted}\n{digest_path(source)}".encode()
    from ..components.image import DEFAULT_REGISTRY

    registry = os.environ.get("PENSTOCK_IMAGE_REGISTRY", DEFAULT_REGISTRY).rstrip("/")
    return f"{registry}/{package.name}:{digest_bytes(content).partition(':')[2][:12]}"


def _build(
    builder: str, context: Path, package: Package, base: str, tag: str, pip_config: Path | None
) -> None:
    file = context / "Containerfile"
    file.write_text(CONTAINERFILE.format(base=base, wanted=package.wanted, tag=tag, date=DATE))
    command = [builder, "build", "--file", str(file), "--tag", tag]
    if pip_config is not None:
        command += ["--secret", f"id=pip,src={pip_config.absolute()}"]
    if builder != "docker":
        command += ["--timestamp", DATE]
        if Path("/etc/ssl/certs").is_dir():
            # This machine's certificates: used while building, not part of the image.
            command += ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    done = _run([*command, str(context)])
    if done.returncode != 0:
        raise PenstockError(_explain(package, base, done.stdout + done.stderr))


def _explain(package: Package, base: str, output: str) -> str:
    """Put in a sentence why a build failed, from what pip and the builder printed."""
    held = re.findall(r"The user requested \(constraint\) (\S+)", output)
    if held:
        asked = re.findall(r"^\s+(.+ depends on .+|The user requested (?!\().+)$", output, re.M)
        return (
            f"{package.path} cannot be added to {base}, which holds {held[0]}: "
            f"{'; '.join(dict.fromkeys(asked)) or 'it asks for another version'}. Widen what the "
            "package requires."
        )
    missing = re.findall(r"No matching distribution found for (.+)", output)
    if missing:
        return (
            f"{package.path} cannot be added to {base}: no package index gave {missing[0]}; "
            "correct its requirements, or name an index with --pip-config."
        )
    errors = re.findall(r"^\s*(?:error|ERROR|\w*Error): (.+)$", output, re.M)
    # pip's and the builder's own last words say only that something before them failed.
    said = [e for e in errors if not e.startswith(("subprocess-exited", "building at STEP"))]
    reason = said[-1] if said else _last_line(output)
    click.echo(output, err=True)
    return f"{package.path} does not install: {reason.rstrip('.')}; all that was printed is above."


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # Of all kinds of isolation the one that also works inside a container.
    environment = {"BUILDAH_ISOLATION": "chroot", **os.environ}
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
