"""The documents tell the truth: their pipeline compiles, their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import penstock
from penstock.schemas import schema_text

ROOT = Path(penstock.__file__).parent
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "components/*/README.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith((".", "penstock-runs"))
)


def test_the_pipeline_of_the_readme_compiles(tmp_path):
    (source,) = re.findall(
        r"```python\n# taxi.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    (tmp_path / "taxi.py").write_text(source)
    (tmp_path / "taxi.pbtxt").write_text(schema_text("flights"))
    (tmp_path / "taxi_eval.pbtxt").write_text('model_specs { label_key: "big_tip" }')

    subprocess.run(
        [sys.executable, "-m", "penstock", "compile", "taxi.py", "-o", "taxi.yaml"],
        cwd=tmp_path,
        check=True,
    )

    tasks = yaml.safe_load((tmp_path / "taxi.yaml").read_text())["root"]["dag"]["tasks"]
    assert {"example-gen", "trainer", "evaluator"} < set(tasks)
    assert "example-validator" in tasks["transform"]["dependentTasks"]
    assert len(source.strip().splitlines()) <= 25


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_files(document):
    prose = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document}: {target}"
