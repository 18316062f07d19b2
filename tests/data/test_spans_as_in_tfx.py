"""The cases of TFX's tfx/components/example_gen/utils_test.py, with what it expects of them.

Two come out otherwise here, on purpose: without placeholders TFX calls the span 0, here there is
none; and TFX does not find `span01` by `{SPAN}` and a range, here zeros may stand before a number.
"""

import pytest

from penstock.data.spans import find_split_files
from penstock.errors import PenstockError

ALIGNED = ("span01/ver01/a/x", "span01/ver01/b/x", "span02/ver01/a/x")
DAYS = ("19700102/ver01/a/x", "19700102/ver01/b/x", "19700103/ver01/a/x")
BOTH = ["span{SPAN}/ver{VERSION}/a/*", "span{SPAN}/ver{VERSION}/b/*"]
BOTH_DAYS = ["{YYYY}{MM}{DD}/ver{VERSION}/a/*", "{YYYY}{MM}{DD}/ver{VERSION}/b/*"]


@pytest.mark.parametrize(
    ("files", "patterns", "bounds", "expected"),
    [
        # testHaveSpanNoVersion, testHaveSpanAndVersion, testNewSpanWithOlderVersionAlign
        (["span1/a/x"], ["span{SPAN}/a/*"], (), (1, None)),
        (["span1/version1/a/x"], ["span{SPAN}/version{VERSION}/a/*"], (), (1, 1)),
        (["span1/ver2/a/x", "span2/ver1/a/x"], ["span{SPAN}/ver{VERSION}/a/*"], (), (2, 1)),
        # testNoSpanOrVersion
        (["a/x"], ["a/*"], (), (None, None)),
        # testHaveDateNoVersion, testHaveDateAndVersion
        (["19700102/a/x"], ["{YYYY}{MM}{DD}/a/*"], (), (1, None)),
        (["19700102/ver1/a/x"], ["{YYYY}{MM}{DD}/ver{VERSION}/a/*"], (), (1, 1)),
        # testSpanWidth, testVersionWidth, testSpanVersionWidthNoSeperator
        (["span1/a/x"], ["span{SPAN:1}/a/*"], (), (1, None)),
        (["span1/ver1/a/x"], ["span{SPAN}/ver{VERSION:1}/a/*"], (), (1, 1)),
        (["1234/a/x"], ["{SPAN:2}{VERSION:2}/a/*"], (), (12, 34)),
        # testSpanAlignWithRangeConfig, testRangeConfigSpanWidthPresence and WithDateSpec
        (["span01/a/x", "span02/a/x"], ["span{SPAN:2}/a/*"], (1, 1), (1, None)),
        (["span01/a/x"], ["span{SPAN}/a/*"], (1, 1), (1, None)),
        (["19700102/a/x"], ["{YYYY}{MM}{DD}/a/*"], (1, 1), (1, None)),
        # testCalculateSplitsFingerprintSpanAndVersionWithSpan and WithDate
        (
            [*ALIGNED, "span02/ver01/b/x", "span02/ver02/a/x", "span02/ver02/b/x"],
            BOTH,
            (),
            (2, 2),
        ),
        (
            [*DAYS, "19700103/ver01/b/x", "19700103/ver02/a/x", "19700103/ver02/b/x"],
            BOTH_DAYS,
            (),
            (2, 2),
        ),
    ],
)
def test_what_tfx_finds_is_found(tmp_path, files, patterns, bounds, expected):
    found = find(tmp_path, files, patterns, bounds)
    assert {(file.span, file.version) for file in found} == {expected}
    assert len(found) == len(patterns)


@pytest.mark.parametrize(
    ("files", "patterns", "bounds", "sentence"),
    [
        # testSpanNoMatching, testVersionNoMatching, testRangeConfigWithNonexistentSpan
        ([], ["span{SPAN}/a/*", "span{SPAN}/b/*"], (), "No file matches the pattern"),
        (["span01/wrong/x"], ["span{SPAN}/version{VERSION}/a/*"], (), "No file matches"),
        (["span01/a/x"], ["span{SPAN:2}/a/*"], (2, 2), "for span 2 of the range"),
        # testSpanWrongFormat, testVersionWrongFormat
        (["spanx/a/x"], ["span{SPAN}/a/*"], (), "which stands for digits"),
        (["span01/versionx/a/x"], ["span{SPAN}/version{VERSION}/a/*"], (), "stands for digits"),
        # testMultipleSpecs
        ([], ["span1{SPAN}/span2{SPAN}/a/*"], (), "uses a placeholder twice"),
        ([], ["span{SPAN}/ver1{VERSION}/ver2{VERSION}/a/*"], (), "uses a placeholder twice"),
        ([], ["{YYYY}-{MM}-{DD}-{MM}/a/*"], (), "uses a placeholder twice"),
        # testHaveVersionNoSpan, testDateSpecPartiallyMissing, testBothSpanAndDate
        ([], ["version{VERSION}/a/*"], (), "has {VERSION} without a span"),
        ([], ["{YYYY}-{MM}/a/*"], (), "needs all of {YYYY}, {MM} and {DD}"),
        ([], ["{YYYY}-{MM}-{DD}/{SPAN}/a/*"], (), "mixes {SPAN} with a date"),
        # testDateBadFormat, testInvalidDate
        (["yyyymmdd/a/x"], ["{YYYY}{MM}{DD}/a/*"], (), "which stands for digits"),
        (["20201301/a/x"], ["{YYYY}{MM}{DD}/a/*"], (), "a date, which is none"),
        # testSpanInvalidWidth, testVersionInvalidWidth, testSpanWidth, testVersionWidth
        ([], ["{SPAN:x}/a/*"], (), "gives SPAN the width 'x'"),
        ([], ["{SPAN}/{VERSION:x}/a/*"], (), "gives VERSION the width 'x'"),
        (["span1/a/x"], ["span{SPAN:2}/a/*"], (), "No file matches"),
        (["span1/ver1/a/x"], ["span{SPAN}/ver{VERSION:2}/a/*"], (), "No file matches"),
        # testCalculateSplitsFingerprintSpanAndVersionWithSpan and WithDate
        (ALIGNED, BOTH, (), "give both the same spans and versions"),
        ([*ALIGNED, "span02/ver01/b/x", "span02/ver02/a/x"], BOTH, (), "the same spans and"),
        (DAYS, BOTH_DAYS, (), "give both the same spans and versions"),
        ([*DAYS, "19700103/ver01/b/x", "19700103/ver02/a/x"], BOTH_DAYS, (), "the same spans"),
    ],
)
def test_what_tfx_refuses_is_refused(tmp_path, files, patterns, bounds, sentence):
    with pytest.raises(PenstockError) as error:
        find(tmp_path, files, patterns, bounds)
    assert sentence in str(error.value)


def find(folder, files, patterns, bounds):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    by_split = {f"s{number}": pattern for number, pattern in enumerate(patterns)}
    return find_split_files(by_split, folder, *bounds)
