"""What the flights models see. Only what is known before departure may be a feature."""

from penstock.components.transform.features import Bucketized, Categorical, Numeric

LABEL = "late"

FEATURES = {
    "carrier": Categorical("carrier"),
    "origin": Categorical("origin"),
    "dest": Categorical("dest"),
    "weekday": Categorical("weekday"),
    "hour": Categorical("hour"),
    "minute": Bucketized("minute", num_buckets=5),
    "arrival": Bucketized("sched_arr_time", num_buckets=10),
    "distance": Numeric("distance"),
}

EXCLUDED = {
    "year": "always 2013",
    "month": "is the span, and the next one is always unseen",
    "day": "would only teach the weather of that day",
    "time_hour": "would only teach the weather of that hour",
    "sched_dep_time": "the same as hour and minute",
    "flight": "a number that says little beyond carrier and route",
    "tailnum": "thousands of aircraft, often changed before departure",
    "dep_time": "known only after departure",
    "dep_delay": "known only after departure",
    "arr_time": "known only after arrival",
    "arr_delay": "known only after arrival; the label is made from it",
    "air_time": "known only after arrival",
}
