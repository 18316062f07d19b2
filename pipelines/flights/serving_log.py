"""What serving would have logged of flights: training's rows as asked before departure.

The recipe for trying skew_detector: `serving_log(flights)` is a log without skew, and each name in
`FAULTS` plants one fault in it. A flight is told by `KEYS`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Chosen = np.ndarray[Any, np.dtype[np.bool_]]

KEYS = ("time_hour", "carrier", "flight", "origin")
# Known only after departure: no serving row has them.
UNKNOWN = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "late")


def serving_log(flights: pa.Table, faults: tuple[str, ...] = (), share: float = 0.1) -> pa.Table:
    """Return the rows that serving would have logged, in another order, with faults.

    Args:
        flights: As `penstock.pipelines.flights.spans.label_flights` returns them.
        faults: Names among `FAULTS`.
        share: The share of the rows that each fault befalls, from 0 to 1, drawn by a fixed seed.

    Raises:
        KeyError: There is no such fault.
    """
    rng = np.random.default_rng(0)
    log = flights.drop(list(UNKNOWN)).take(pa.array(rng.permutation(len(flights))))
    for fault in faults:
        log = FAULTS[fault](log, rng.random(len(log)) < share)
    return log


def _set(log: pa.Table, name: str, values: pa.Array, chosen: Chosen) -> pa.Table:
    """Return the log with other values in the chosen rows of a column."""
    place = log.schema.get_field_index(name)
    mixed = pc.if_else(pa.array(chosen), values, log[name].cast(values.type))
    return log.set_column(place, name, mixed)


def _kilometres(log: pa.Table, chosen: Chosen) -> pa.Table:
    return _set(log, "distance", pc.multiply(log["distance"].cast(pa.float64()), 1.609344), chosen)


def _lower_case(log: pa.Table, chosen: Chosen) -> pa.Table:
    return _set(log, "dest", pc.utf8_lower(log["dest"].combine_chunks()), chosen)


def _shifted_hours(log: pa.Table, chosen: Chosen) -> pa.Table:
    hours = pa.array((log["hour"].to_numpy() + 5) % 24)
    return _set(log, "hour", hours, chosen)


def _missing_weekdays(log: pa.Table, chosen: Chosen) -> pa.Table:
    return _set(log, "weekday", pa.nulls(len(log), pa.int64()), chosen)


def _rounded_floats(log: pa.Table, chosen: Chosen) -> pa.Table:
    """What is no fault: distances as floats, off by less than a float32 is."""
    near = log["distance"].to_numpy() * (1 + 1e-8)
    return _set(log, "distance", pa.array(near), chosen)


def _repeated_rows(log: pa.Table, chosen: Chosen) -> pa.Table:
    return pa.concat_tables([log, log.filter(pa.array(chosen))])


FAULTS: Mapping[str, Callable[[pa.Table, Chosen], pa.Table]] = {
    "kilometres": _kilometres,
    "lower_case": _lower_case,
    "shifted_hours": _shifted_hours,
    "missing_weekdays": _missing_weekdays,
    "rounded_floats": _rounded_floats,
    "repeated_rows": _repeated_rows,
}
