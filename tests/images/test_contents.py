"""What is in the images, and what is not."""

import json
import re
import subprocess
from email.parser import HeaderParser

import pytest

from penstock import __version__

from .conftest import ROOT, build
from .launcher import ARBITRARY, run_in

BOM = "/opt/penstock/bom.cdx.json"


@pytest.fixture(params=["components", "control", "registry"])
def image(request):
    return request.getfixturevalue(request.param)


def printed(image: str, *command: str, options: tuple[str, ...] = ARBITRARY.options) -> str:
    """Run a command as a user that the image does not know, and return what it prints."""
    done = run_in(image, *command, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def description(image: str) -> dict:
    inspected = subprocess.run(
        ["podman", "image", "inspect", image], capture_output=True, check=True
    )
    return json.loads(inspected.stdout)[0]


def test_image_has_the_package(image):
    assert __version__ in printed(image, "penstock", "--version")


def test_image_has_no_entrypoint_and_asks_for_no_user(image):
    config = description(image)["Config"]

    assert not config.get("Entrypoint")
    assert config.get("User", "") == ""


def test_image_says_what_it_is(image):
    labels = description(image)["Config"]["Labels"]

    title = "org.opencontainers.image."
    assert labels[f"{title}version"] == __version__
    assert labels[f"{title}licenses"] == "Apache-2.0"
    assert labels[f"{title}title"] == "penstock"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|", labels[f"{title}revision"])


def test_image_keeps_nothing_of_the_machine_that_built_it(image):
    config = description(image)["Config"]
    known = {"PATH", "HOME", "PYTHONUNBUFFERED", "TF_CPP_MIN_LOG_LEVEL"}

    names = {variable.partition("=")[0] for variable in config["Env"]}

    # Proxies, certificates and credentials of the builder come as variables.
    assert names - known == {"PENSTOCK_IMAGE", "_KFP_RUNTIME"}
    assert printed(
        image, "sh", "-c", "ls -A /tmp /root/.cache /etc/pip.conf 2>/dev/null; true"
    ) in (
        "",
        "/tmp:\n",
    )


def test_files_have_one_date(image):
    """Of layers that are built anew, only what changed is new."""
    program = (
        "import os; print({int(os.lstat(os.path.join(top, name)).st_mtime)"
        " for top, _, names in os.walk('/opt/penstock') for name in names})"
    )

    assert printed(image, "python3", "-c", program).strip() == "{315619200}"


def test_modules_are_compiled_for_good(image):
    """By digest and unchecked: a date would say that every module is out of date."""
    program = (
        "import sys, penstock.errors, click, sqlalchemy\n"
        "for m in (penstock.errors, click, sqlalchemy):\n"
        "    print(int.from_bytes(open(m.__spec__.cached, 'rb').read()[4:8], 'little'))\n"
    )

    assert printed(image, "python3", "-c", program).split() == ["1", "1", "1"]


def test_bill_of_materials_lists_what_is_installed(image):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = printed(image, "cat", BOM)
    bom = json.loads(text)

    listed = {(part["name"], part["version"]) for part in bom["components"]}
    python = json.loads(printed(image, "python3", "-m", "pip", "list", "--format=json"))
    status = printed(image, "cat", "/var/lib/dpkg/status").strip().split("\n\n")
    debian = [HeaderParser().parsestr(paragraph) for paragraph in status]
    assert listed == {(part["name"], part["version"]) for part in python} | {
        (part["Package"], part["Version"]) for part in debian if "ok installed" in part["Status"]
    }
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    name = image.partition(":")[0].rpartition("/")[2]
    assert (ROOT / "build" / f"{name}.cdx.json").read_text() == text
    assert f"{bom['metadata']['component']['name']}:test" == image


def test_every_executor_loads(components):
    names = sorted(path.parent.name for path in ROOT.glob("components/*/executor.py"))
    program = "".join(f"import penstock.components.{name}.executor\n" for name in names)

    printed(components, "python3", "-c", program)


def test_components_keep_a_registry_and_load_every_kind_of_model(components):
    program = (
        "import lightgbm, skops, xgboost\n"
        "from penstock.registry.connection import open_registry\n"
        "from penstock.registry.versions import products\n"
        "print(products(open_registry('/tmp/registry')))\n"
    )

    assert printed(components, "python3", "-c", program).splitlines()[-1] == "[]"


def test_components_reach_object_stores(components):
    printed(
        components,
        "python3",
        "-c",
        "import fsspec; print(*map(fsspec.get_filesystem_class, ['s3', 'gs']))",
    )


def test_control_is_light(control):
    heavy = {"tensorflow", "apache-beam", "pyarrow", "pandas", "numpy", "scikit-learn"}

    installed = json.loads(printed(control, "python3", "-m", "pip", "list", "--format=json"))

    assert not {part["name"].lower() for part in installed} & heavy
    assert description(control)["Size"] < 600e6


def test_control_compiles_checks_and_asks(control):
    script = (
        "penstock compile penstock.pipelines.flights -o /tmp/flights.yaml\n"
        "penstock check /tmp/flights.yaml\n"
        "penstock submit --help >/dev/null\n"
        "cat /tmp/flights.yaml\n"
    )

    said = printed(control, "sh", "-euc", script)

    assert "schemaVersion: 2.1.0" in said


def test_control_lists_models_and_runs_of_others(control, reference):
    mount = f"--volume={reference.compiled.parent}:/house:ro"
    # A store is opened for writing, so it is a copy that is asked.
    script = (
        "cp -r /house/registry /house/runs/metadata.sqlite /tmp/\n"
        "penstock models list --registry /tmp/registry\n"
        "penstock runs list --store /tmp/metadata.sqlite\n"
    )

    said = printed(control, "sh", "-euc", script, options=(mount, *ARBITRARY.options))

    assert "flights" in said
    assert "every-component" in said


def test_same_sources_make_the_same_image(control):
    """Built twice from nothing, every layer and the image itself have the same digest."""
    before = description(control)

    after = description(build("control", FRESH="1"))

    assert after["RootFS"] == before["RootFS"]
    assert after["Id"] == before["Id"]
