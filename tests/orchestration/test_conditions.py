import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.orchestration.conditions import parse_condition


def holds(text, **parameters):
    return parse_condition(text).holds(parameters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inputs.parameter_values['x'] == 'it is'", True),
        ("inputs.parameter_values['x'] != 'other'", True),
        ("int(inputs.parameter_values['n']) > 2", True),
        ("double(int(inputs.parameter_values['n'])) >= 3.5", False),
        ("inputs.parameter_values['f'] < 1e-3", True),
        ("inputs.parameter_values['f'] > -2", True),
        ("inputs.parameter_values['b'] == true", False),
        ("!(inputs.parameter_values['b'] == true)", True),
        ("!(int(inputs.parameter_values['n']) == 3) && !inputs.parameter_values['b']", False),
        ("int(inputs.parameter_values['n']) == 4 || inputs.parameter_values['x'] == 'it is'", True),
        ("(false || true) && !false", True),
        ("'false || true' == 'false || true'", True),
        (r"inputs.parameter_values['q'] == 'say \'hi\' \u00fc'", True),
        ("inputs.parameter_values['x'] == 3", False),
        ("string(int(inputs.parameter_values['n'])) == '3'", True),
    ],
)  # fmt: skip
def test_a_condition_holds_as_in_cel(text, expected):
    assert holds(text, x="it is", n=3, f=0.0001, b=False, q="say 'hi' ü") is expected


@given(
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6),
    st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e6),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
)
def test_numbers_compare_as_in_python(left, right, sign):
    python = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}[sign]

    found = holds(f"inputs.parameter_values['v'] {sign} {right!r}", v=left)

    assert found is getattr(operator, python)(left, right)


@given(st.text(st.characters(exclude_characters="'\\\n", exclude_categories=["Cs"])))
def test_any_text_without_an_apostrophe_equals_itself(text):
    assert holds(f"inputs.parameter_values['v'] == '{text}'", v=text)


@pytest.mark.parametrize(
    "text",
    [
        "inputs.parameter_values['x'] == 'it's'",
        "'int(inputs.parameter_values['x'])' == 'a'",
        "inputs.parameter_values['x'] ==",
        "inputs.artifacts['x'] == 'a'",
        "size(inputs.parameter_values['x']) > 1",
        "a == b",
        "1 + 1 == 2",
        "",
    ],
)
def test_what_kfp_does_not_compile_is_refused(text):
    with pytest.raises(PenstockError, match="not valid CEL"):
        parse_condition(text)


def test_a_missing_parameter_is_named():
    with pytest.raises(PenstockError, match="reads the parameter x, which has no value"):
        holds("inputs.parameter_values['x'] == 1")


def test_kinds_without_an_order_are_not_compared():
    with pytest.raises(PenstockError, match=r"'a' and 1 have no order"):
        holds("inputs.parameter_values['x'] < 1", x="a")
