import json
import subprocess

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from kfp import dsl
from kfp.compiler import Compiler
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from penstock.components.artifacts import Schema, Statistics
from penstock.components.schema_gen.component import schema_gen
from penstock.components.schema_gen.executor import generate_schema
from penstock.data.digest import digest_path
from penstock.data.schemas import load_schema
from penstock.errors import PenstockError
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.spec import parse
from penstock.schemas import pinned_schema, schema_digest

REVIEWED = """# Looked at by people.
feature { name: "distance"  type: INT }
feature {
  name: "carrier"
  type: BYTES
}
"""


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """Statistics of a train split with rows and an eval split without."""
    folder = tmp_path_factory.mktemp("statistics")
    frame = pd.DataFrame({"distance": [1, 2, 3], "carrier": ["UA", "AA", None]})
    computed = tfdv.generate_statistics_from_dataframe(frame)
    empty = statistics_pb2.DatasetFeatureStatisticsList()
    empty.datasets.add(name="eval")
    for split, proto in {"train": computed, "eval": empty}.items():
        (folder / f"Split-{split}").mkdir()
        (folder / f"Split-{split}" / "stats.binpb").write_bytes(proto.SerializeToString())
    return folder, computed


def test_without_a_text_the_schema_is_what_tfdv_infers(statistics, tmp_path):
    folder, computed = statistics
    metadata = generate_schema(tmp_path / "out", folder)
    inferred = tfdv.load_schema_text(str(tmp_path / "out" / "schema.pbtxt"))
    assert inferred == tfdv.infer_schema(computed)
    assert metadata["summary"] == "2 features, inferred from train"
    assert load_schema(tmp_path / "out") == inferred


def test_a_reviewed_schema_is_taken_byte_for_byte(statistics, tmp_path):
    metadata = generate_schema(tmp_path / "out", statistics[0], REVIEWED)
    assert (tmp_path / "out" / "schema.pbtxt").read_text() == REVIEWED
    assert metadata == {
        "summary": "2 features, as reviewed",
        "features": 2,
        "digest": digest_path(tmp_path / "out" / "schema.pbtxt"),
        "proposed": 0,
    }
    schema = load_schema(tmp_path / "out")
    assert [feature.type for feature in schema.feature] == [schema_pb2.INT, schema_pb2.BYTES]


def test_running_twice_gives_the_same_bytes(statistics, tmp_path):
    generate_schema(tmp_path / "one", statistics[0])
    generate_schema(tmp_path / "two", statistics[0])
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "two")


def test_the_schema_is_there_for_others_too(tmp_path):
    generate_schema(tmp_path / "out", schema_text=REVIEWED)
    described = json.loads((tmp_path / "out" / "schema.json").read_text())
    assert list(described["properties"]) == ["distance", "carrier"]
    table = pq.read_table(tmp_path / "out" / "schema.parquet")
    assert (table.num_rows, table.schema.names) == (0, ["distance", "carrier"])


def test_choices_of_inference_reach_the_schema(statistics, tmp_path):
    chosen = {"infer_ranges": True, "labels": ["distance"], "max_string_domain_size": 1.0}
    generate_schema(tmp_path / "out", statistics[0], infer_shapes=False, **chosen)
    distance, carrier = load_schema(tmp_path / "out").feature
    assert (distance.int_domain.min, distance.int_domain.max) == (1, 3)
    assert list(distance.not_in_environment) == ["SERVING"]
    assert not distance.HasField("shape")
    assert not carrier.HasField("domain")


def test_what_statistics_need_of_a_reviewed_schema_is_proposed_not_done(statistics, tmp_path):
    reviewed = REVIEWED.replace("type: INT", "type: INT int_domain { max: 2 }")
    proposal = tmp_path / "proposal.md"
    metadata = generate_schema(
        tmp_path / "out", statistics[0], reviewed, proposal_path=proposal, environment=""
    )
    assert (tmp_path / "out" / "schema.pbtxt").read_text() == reviewed
    assert metadata["summary"] == "2 features, as reviewed; 1 change proposed"
    assert metadata["proposed"] == 1
    text = proposal.read_text()
    assert "proposed by the statistics of train (3 rows)" in text
    (tmp_path / "schema.pbtxt").write_text(reviewed)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "proposal.md"], cwd=tmp_path, check=True)
    assert (tmp_path / "schema.pbtxt").read_text() == reviewed.replace("max: 2", "max: 3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"schema_text": REVIEWED}, "no statistics were given beside the reviewed schema."),
        ({"infer_split": "train"}, "the schema was inferred."),
        ({"schema_text": REVIEWED, "infer_split": "train"}, "the schema accepts the statistics"),
        ({"schema_text": REVIEWED, "infer_split": "eval"}, "split `eval` has no rows."),
    ],
)
def test_where_nothing_is_proposed_it_is_said_why(statistics, tmp_path, arguments, words):
    given = statistics[0] if "infer_split" in arguments else None
    generate_schema(tmp_path / "out", given, proposal_path=tmp_path / "p.md", **arguments)
    assert words in (tmp_path / "p.md").read_text()


def test_a_pinned_schema_must_have_its_digest(tmp_path):
    pinned = pinned_schema(REVIEWED)
    assert generate_schema(tmp_path / "ok", **pinned)["digest"] == pinned["schema_digest"]
    changed = pinned | {"schema_text": REVIEWED.replace("INT", "FLOAT")}
    assert refusal(tmp_path, **changed) == (
        f"schema_text has the digest {schema_digest(changed['schema_text'])}, expected "
        f"{pinned['schema_digest']}: it is not the schema that was reviewed; compile the pipeline "
        "again, or give the reviewed text."
    )
    assert refusal(tmp_path, schema_digest="sha256:0").startswith(
        "schema_gen got a schema_digest without schema_text"
    )


def test_the_compiled_pipeline_pins_the_schema(tmp_path):
    @dsl.pipeline(name="p")
    def pipeline():
        schema_gen(**pinned_schema(REVIEWED))

    Compiler().compile(pipeline, str(tmp_path / "p.yaml"))
    compiled = (tmp_path / "p.yaml").read_text()
    assert schema_digest(REVIEWED) in compiled
    spec = parse(compiled, "p.yaml")
    assert run_pipeline(spec, {}, Settings(tmp_path / "runs")).state is State.SUCCEEDED

    tampered = parse(compiled.replace("type: BYTES", "type: INT"), "p.yaml")
    report = run_pipeline(tampered, {}, Settings(tmp_path / "runs"))
    assert "it is not the schema that was reviewed" in report.failures()[0].reason


def refusal(tmp_path, *args, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_schema(tmp_path / "out", *args, **kwargs)
    assert not (tmp_path / "out").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "year,month\n2013,1\n",
            'line 1, column 1: Message type "tensorflow.metadata.v0.Schema" has no field named '
            '"year"',
        ),
        (
            'feature {\n  name: "x"\n  typ: INT\n}',
            'line 3, column 3: Message type "tensorflow.metadata.v0.Feature" has no field named '
            '"typ"',
        ),
        ('feature { name: "x" ', 'line 1, column 17: Expected "}"'),
    ],
)
def test_a_text_that_is_no_schema_is_refused_by_line_and_column(tmp_path, text, reason):
    assert refusal(tmp_path, None, text) == (
        f"schema_text is not a schema ({reason}); expected a tensorflow.metadata.v0.Schema in "
        "text form, as schema_gen writes it."
    )


@pytest.mark.parametrize("text", [" ", "# nothing\n", 'default_environment: "TRAINING"'])
def test_a_schema_without_features_is_refused(tmp_path, text):
    assert refusal(tmp_path, None, text) == (
        "schema_text is a schema without features; describe at least one column as feature "
        '{ name: "..." type: INT }.'
    )


def test_one_of_text_and_statistics_is_needed(tmp_path):
    assert refusal(tmp_path) == (
        "schema_gen got neither schema_text nor statistics; give a reviewed schema, or statistics "
        "to infer one from."
    )


def test_nothing_is_inferred_from_an_unknown_or_empty_split(statistics, tmp_path):
    assert refusal(tmp_path, statistics[0], infer_split="test") == (
        "There is no split 'test' in the statistics; they have eval, train."
    )
    assert refusal(tmp_path, statistics[0], infer_split="eval") == (
        "Split 'eval' has no rows, so no schema can be inferred from it; give more data, another "
        "infer_split, or a reviewed schema."
    )


def test_broken_inputs_are_refused(tmp_path):
    assert refusal(tmp_path, tmp_path) == (
        f"There are no statistics at {tmp_path}: no Split-*/stats.binpb; give the folder that "
        "statistics_gen wrote."
    )
    file = tmp_path / "Split-train" / "stats.binpb"
    file.parent.mkdir()
    file.write_bytes(b"not a proto")
    assert refusal(tmp_path, tmp_path) == (
        f"{file} is not a DatasetFeatureStatisticsList; run statistics_gen again."
    )
    file.write_bytes(b"")
    assert refusal(tmp_path, tmp_path) == (
        f"{file} holds 0 datasets, expected one; run statistics_gen again."
    )


def test_a_folder_without_a_schema_is_refused(tmp_path):
    with pytest.raises(PenstockError) as error:
        load_schema(tmp_path)
    assert str(error.value) == (
        f"There is no schema at {tmp_path}: schema.pbtxt is missing; give the folder that "
        "schema_gen wrote."
    )
    (tmp_path / "schema.pbtxt").write_bytes(b"\xff\xfe")
    with pytest.raises(PenstockError, match="is not UTF-8 text; write the schema in text form"):
        load_schema(tmp_path)


def test_the_component_works_with_and_without_statistics(statistics, tmp_path):
    inferred = Schema(uri=str(tmp_path / "inferred"))
    proposal = dsl.Markdown(uri=str(tmp_path / "proposal.md"))
    given = Statistics(uri=str(statistics[0]))
    schema_gen.python_func(schema=inferred, proposal=proposal, statistics=given)
    assert inferred.metadata["summary"] == "2 features, inferred from train"
    reviewed = Schema(uri=str(tmp_path / "reviewed"))
    schema_gen.python_func(schema=reviewed, proposal=proposal, schema_text=REVIEWED)
    assert reviewed.metadata["summary"] == "2 features, as reviewed"


def test_statistics_of_another_step_reach_the_component(statistics, tmp_path):
    folder, computed = statistics

    @dsl.pipeline(name="p")
    def pipeline():
        found = dsl.importer(artifact_uri=str(folder), artifact_class=Statistics)
        schema_gen(statistics=found.output)

    Compiler().compile(pipeline, str(tmp_path / "p.yaml"))
    spec = parse((tmp_path / "p.yaml").read_text(), "p.yaml")
    report = run_pipeline(spec, {}, Settings(tmp_path / "runs"))
    assert [step.reason for step in report.steps] == [""] * 2
    (file,) = tmp_path.glob("runs/**/schema.pbtxt")
    assert tfdv.load_schema_text(str(file)) == tfdv.infer_schema(computed)
