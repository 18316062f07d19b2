"""What the flights model may know: nothing that is known only after departure."""

from penstock.pipelines.flights.features import EXCLUDED, FEATURES, LABEL
from penstock.pipelines.flights.spans import label_flights, read_flights

# A flight's times and delays exist once it has left or landed; the schedule exists before.
KNOWN_TOO_LATE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


def columns_used() -> set[str]:
    return {column for feature in FEATURES.values() for column in feature.columns}


def test_nothing_known_only_after_departure_is_a_feature():
    assert not columns_used() & KNOWN_TOO_LATE
    assert LABEL not in columns_used()


def test_every_column_is_a_feature_or_excluded_for_a_reason():
    columns = set(label_flights(read_flights().slice(0, 100)).column_names)

    assert columns == columns_used() | set(EXCLUDED) | {LABEL}
    assert not columns_used() & set(EXCLUDED)
    assert set(EXCLUDED) >= KNOWN_TOO_LATE
    assert all(len(reason) > 10 for reason in EXCLUDED.values())


def test_the_schema_for_serving_leaves_out_what_is_not_yet_known():
    from tensorflow_data_validation import load_schema_text

    from penstock import schemas

    schema = load_schema_text(str(next(iter(schemas.__path__)) + "/flights.pbtxt"))
    absent = {f.name for f in schema.feature if "SERVING" in f.not_in_environment}

    assert absent == KNOWN_TOO_LATE | {LABEL}
