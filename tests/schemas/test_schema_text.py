"""A reviewed text is changed where it must change, and a diff of it applies."""

import shutil
import string
import subprocess

import pytest
from google.protobuf import text_format
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

from penstock.schemas import pinned_schema, schema_digest, schema_text
from penstock.schemas.changes import find_changes, unified_diff
from penstock.schemas.text import rewrite, write

WORDS = st.text(string.ascii_letters + "\"'#{}\\\n é", max_size=6)
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=3)


def schema_of(text: str) -> schema_pb2.Schema:
    """The schema that a text says."""
    return text_format.Parse(text, schema_pb2.Schema())


@st.composite
def features(draw, depth: int = 1) -> schema_pb2.Feature:
    """A feature with some of what a feature can have."""
    feature = schema_pb2.Feature(name=draw(NAMES))
    if draw(st.booleans()):
        feature.type = draw(st.sampled_from([1, 2, 3]))
    if draw(st.booleans()):
        feature.presence.min_fraction = draw(st.floats(0, 1))
    if draw(st.booleans()):
        feature.presence.min_count = draw(st.integers(0, 9))
    shape = draw(st.sampled_from(["", "shape", "value_count", "value_counts"]))
    if shape == "shape":
        for size in draw(st.lists(st.integers(1, 3), max_size=2)):
            feature.shape.dim.add(size=size)
    elif shape == "value_count":
        feature.value_count.min = draw(st.integers(0, 3))
        feature.value_count.max = draw(st.integers(0, 3))
    elif shape == "value_counts":
        for low in draw(st.lists(st.integers(0, 3), max_size=2)):
            feature.value_counts.value_count.add(min=low)
    domain = draw(st.sampled_from(["", "int", "float", "string", "ref", "bool", "struct"]))
    if domain == "int":
        feature.int_domain.min = draw(st.integers(-9, 9))
    elif domain == "float":
        feature.float_domain.max = draw(st.floats(-9, 9, width=32))
    elif domain == "string":
        feature.string_domain.value.extend(draw(st.lists(WORDS, max_size=3)))
    elif domain == "ref":
        feature.domain = draw(NAMES)
    elif domain == "bool":
        feature.bool_domain.true_value = draw(WORDS)
    elif domain == "struct" and depth:
        feature.struct_domain.feature.extend(draw(st.lists(features(depth - 1), max_size=2)))
    feature.not_in_environment.extend(draw(st.lists(NAMES, max_size=2)))
    if draw(st.booleans()):
        feature.drift_comparator.infinity_norm.threshold = draw(st.floats(0, 1))
    return feature


@st.composite
def schemas(draw) -> schema_pb2.Schema:
    """A schema of a few features and domains, whose names may be given twice."""
    schema = schema_pb2.Schema()
    schema.feature.extend(draw(st.lists(features(), min_size=1, max_size=4)))
    for name in draw(st.lists(NAMES, max_size=3)):
        schema.string_domain.add(name=name, value=draw(st.lists(WORDS, max_size=4)))
    schema.default_environment.extend(draw(st.lists(NAMES, max_size=2)))
    if draw(st.booleans()):
        schema.dataset_constraints.min_examples_count = draw(st.integers(0, 9))
    if draw(st.booleans()):
        group = schema.tensor_representation_group[draw(NAMES)]
        group.tensor_representation[draw(NAMES)].dense_tensor.column_name = draw(NAMES)
    return schema


REVIEWED = """\
# Looked at by people.
feature {
  name: "carrier"  # who flies
  type: BYTES
  domain: "carrier"
}

# Miles, not kilometres.
feature { name: "distance" type: INT int_domain { min: 1 max: 6000 } }
string_domain {
  name: "carrier"
  value: "AA"   # American
  value: 'UA'
}
"""


def changed(text, change):
    """The text rewritten so that it says what `change` made of its schema."""
    target = schema_of(text)
    change(target)
    return rewrite(text, target), target


@given(schemas(), schemas())
@example(
    schema_pb2.Schema(feature=[{"name": "a"}]),
    schema_pb2.Schema(feature=[{"name": "a", "string_domain": {"value": ["{  }"]}}]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_changes_the_text_says_the_target(old, new):
    for text in (write(old), text_format.MessageToString(old), f"# kept\n{write(old)}# end"):
        assert schema_of(text) == old
        assert schema_of(rewrite(text, new)) == new
        assert rewrite(text, old) == text


@given(schemas())
@settings(max_examples=100, deadline=None)
def test_there_are_changes_exactly_when_schemas_differ(schema):
    for number, feature in enumerate(schema.feature):
        feature.name = f"feature{number}"
    other = schema_of(write(schema))
    assert find_changes(schema, other) == []
    other.feature[0].presence.min_count += 1
    assert len(find_changes(schema, other)) == 1


def test_a_change_touches_its_line_alone_and_comments_stay():
    def change(schema):
        schema.string_domain[0].value.insert(1, "B6")
        schema.feature[1].int_domain.max = 10_000

    text, _ = changed(REVIEWED, change)
    assert text == REVIEWED.replace("max: 6000", "max: 10000").replace(
        "# American\n", '# American\n  value: "B6"\n'
    )


def test_a_new_feature_stands_after_the_last_and_a_removed_one_is_gone():
    def change(schema):
        del schema.feature[0]
        schema.feature.add(name="late", type=2)

    text, target = changed(REVIEWED, change)
    assert "# who flies" not in text
    assert "# Miles, not kilometres." in text
    assert text.index("distance") < text.index("late") < text.index("string_domain")
    assert schema_of(text) == target


@pytest.mark.parametrize(
    "text",
    [
        'string_domain { name: "d" value: ["a", "b"] } feature < name: "x" > # kept',
        'feature { name: "a" "b"; type: INT, }\n',
    ],
)
def test_an_unusual_text_still_says_the_target(text):
    def change(schema):
        schema.feature[0].presence.min_fraction = 0.5
        for domain in schema.string_domain:
            domain.value.append("c")

    new, target = changed(text, change)
    assert schema_of(new) == target


def test_the_diff_is_what_patch_and_git_take(tmp_path):
    old = schema_text("flights")
    target = schema_of(old)
    target.string_domain[0].value.append("ZZ")
    del target.feature[4]
    target.feature[0].presence.min_fraction = 0.5
    new = rewrite(old, target)
    diff = unified_diff(old, new, "a/flights.pbtxt", "b/flights.pbtxt")
    changed_lines = [n for n in diff.splitlines() if n[:1] in "+-" and n[:3] not in ("+++", "---")]
    assert len(changed_lines) == 1 + 7 + 2
    patch = [["patch", "-s", "-p1"]] if shutil.which("patch") else []
    for command in (["git", "apply", "-"], *patch):
        folder = tmp_path / command[0]
        folder.mkdir()
        (folder / "flights.pbtxt").write_text(old)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        subprocess.run(command, cwd=folder, input=f"# words\n{diff}", text=True, check=True)
        assert (folder / "flights.pbtxt").read_text() == new


@pytest.mark.parametrize(
    ("old", "new"),
    [("a\nb", "a\nc"), ("", "a\n"), ("a\n", ""), ("a\nb\n", "b\n"), ("x", "x\n")],
)
def test_the_diff_applies_at_the_ends_of_a_file(old, new, tmp_path):
    (tmp_path / "f").write_text(old)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    diff = unified_diff(old, new, "a/f", "b/f")
    apply = ["git", "apply", "--unidiff-zero", "--allow-empty", "-"]
    subprocess.run(apply, cwd=tmp_path, input=diff, text=True, check=True)
    assert (tmp_path / "f").read_text() == new


def test_changes_are_told_feature_by_feature():
    old = schema_of(REVIEWED)
    new = schema_of(REVIEWED)
    new.feature[0].type = 2
    new.feature[1].ClearField("int_domain")
    new.feature[1].not_in_environment.append("SERVING")
    new.string_domain[0].value[:] = ["AA", "ZZ"]
    new.feature[1].shape.dim.add(size=2)
    new.default_environment.append("SERVING")
    new.feature.add(name="late", type=2)
    assert [str(change) for change in find_changes(old, new)] == [
        "carrier: type: BYTES -> INT",
        "distance: not_in_environment gains 'SERVING'",
        "distance: shape.dim: size: 2 added",
        "distance: int_domain.min: 1 removed",
        "distance: int_domain.max: 6000 removed",
        "late: new feature of type INT",
        "domain carrier: value gains 'ZZ' and loses 'UA'",
        "schema: default_environment gains 'SERVING'",
    ]
    assert [str(change) for change in find_changes(new, old)][-3:] == [
        "late: removed",
        "domain carrier: value gains 'UA' and loses 'ZZ'",
        "schema: default_environment loses 'SERVING'",
    ]


def test_the_digest_is_of_the_bytes(tmp_path):
    from penstock.data.digest import digest_path

    text = 'feature { name: "straße" }\n'
    (tmp_path / "s.pbtxt").write_bytes(text.encode())
    assert schema_digest(text) == digest_path(tmp_path / "s.pbtxt")
    assert pinned_schema(text) == {"schema_text": text, "schema_digest": schema_digest(text)}
