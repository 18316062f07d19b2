import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp import dsl
from kfp.compiler import Compiler

from penstock.components.example_gen.component import example_gen
from penstock.components.example_gen.executor import generate_examples
from penstock.components.schema_gen.component import schema_gen
from penstock.data.examples import read_manifest, read_table
from penstock.errors import PenstockError


def refusal(folder, pattern, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_examples(folder / "out", pattern, folder, **kwargs)
    assert not list(folder.glob("*out*"))
    return str(error.value).replace(f"{folder}/", "")


def test_5000_columns_are_read(tmp_path):
    names = [f"c{n}" for n in range(5000)]
    rows = [",".join(str(n + row) for n in range(5000)) for row in range(20)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    generate_examples(tmp_path / "out", "x.csv", tmp_path, splits={"all": 1})
    table = read_table(tmp_path / "out", "all")
    assert table.column_names == names
    assert table["c4999"].to_pylist() == list(range(4999, 5019))


def test_a_column_that_appears_in_file_7_of_9_is_named(tmp_path):
    for number in range(1, 10):
        extra = ",tip" if number == 7 else ""
        cell = ",1" if number == 7 else ""
        (tmp_path / f"{number}.csv").write_text(f"a,b{extra}\n1,2{cell}\n")
    assert refusal(tmp_path, "*.csv") == (
        "7.csv has 'tip' besides, compared with 1.csv; give all files the same columns."
    )


def test_a_line_of_100_mb_is_refused(tmp_path):
    with (tmp_path / "x.csv").open("wb") as stream:
        stream.write(b"a,b\n1,2\n3,")
        for _ in range(100):
            stream.write(b"x" * (1 << 20))
    assert refusal(tmp_path, "x.csv", max_quarantined_share=1).startswith(
        "x.csv has a line longer than 4 MiB, which is more than Penstock reads at once;"
    )


def test_not_a_number_and_infinities_arrive(tmp_path):
    values = [1.0, np.nan, np.inf, -np.inf, None]
    pq.write_table(pa.table({"x": pa.array(values, from_pandas=False)}), tmp_path / "x.parquet")
    generate_examples(tmp_path / "out", "x.parquet", tmp_path, splits={"all": 1})
    found = read_table(tmp_path / "out", "all")["x"].to_pylist()
    assert repr(found) == repr(values)


def test_without_room_on_disk_nothing_is_left(tmp_path):
    rows = np.random.default_rng(0).random(50_000)
    pq.write_table(pa.table({"x": rows}), tmp_path / "x.parquet")
    program = (
        "import resource, signal\n"
        "from penstock.components.example_gen.executor import generate_examples\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"generate_examples({str(tmp_path / 'out')!r}, 'x.parquet', {str(tmp_path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"PenstockError: There is no room to write {tmp_path}/out (" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_compiled_pipeline_carries_the_structured_parameters(tmp_path):
    """By KFP's YAML and Penstock's runner: dictionaries, lists, and an optional artifact."""
    from penstock.orchestration.run import Settings, run_pipeline
    from penstock.orchestration.spec import parse

    for span in range(1, 5):
        (tmp_path / f"{span}.csv").write_text(
            f"zip;n;day\n0{span}1;{span};2013-0{span}-01\n0{span}2;x;2013-0{span}-02\n"
        )

    @dsl.pipeline(name="p")
    def pipeline():
        text = 'feature { name: "zip" type: BYTES } feature { name: "n" type: INT }'
        schema = schema_gen(schema_text=text)
        example_gen(
            pattern=f"{tmp_path}/{{SPAN}}.csv",
            schema=schema.outputs["schema"],
            csv={"delimiter": ";"},
            max_quarantined_share=0.5,
            window={"last": 4, "exclude": [2], "minimum": 1},
            split_by={"time": "day", "order": ["train", "eval"], "cuts": ["2013-04-01"]},
            leakage={"policy": "fail", "time": "day"},
            columns=["zip", "n", "day"],
            filter="n < 9",
            shards={"rows": 10},
            shuffle_seed=3,
        )

    Compiler().compile(pipeline, str(tmp_path / "p.yaml"))
    spec = parse((tmp_path / "p.yaml").read_text(), "p.yaml")
    result = run_pipeline(spec, {}, Settings(tmp_path / "runs"))
    assert [(s.state.is_success, s.reason) for s in result.steps] == [(True, "")] * 2
    (file,) = tmp_path.glob("runs/**/manifest.json")
    assert read_table(file.parent, "train")["zip"].to_pylist() == ["031", "011"]
    assert read_table(file.parent, "eval")["zip"].to_pylist() == ["041"]
    manifest = read_manifest(file.parent)
    assert manifest.spans == (1, 3, 4)
    assert manifest.accounts == {"in": 6, "out": 3, "quarantined": 3, "filtered": 0}
    assert manifest.leakage == {"duplicate_rows": 0, "late_rows": 0}
