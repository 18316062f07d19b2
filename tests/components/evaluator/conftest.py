import json
import sys
from pathlib import Path

import pytest

# The tests share gate.py; pytest imports each test file by itself.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def frame():
    from gate import flights

    return flights(3000)


@pytest.fixture(scope="session")
def examples(frame, tmp_path_factory):
    from gate import write_examples

    return write_examples(tmp_path_factory.mktemp("examples"), frame)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    from gate import Logistic, export

    folder = export(Logistic(), tmp_path_factory.mktemp("model"))
    (folder / "model.json").write_text(json.dumps({"module": "a.<b>", "train_steps": 600}))
    return folder
