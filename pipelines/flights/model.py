"""What the flights model learns from, and how.

Everything in `FEATURES` is known before departure. The other columns, and why the model must not
see them, are in `EXCLUDED`.
"""

from penstock.components.trainer.fn_args import FnArgs
from penstock.components.transform.features import Bucketized, Categorical, Crossed, Numeric

LABEL = "late"

FEATURES = {
    "carrier": Categorical("carrier", output="index"),
    "origin": Categorical("origin", output="index"),
    "dest": Categorical("dest", output="index"),
    "weekday": Categorical("weekday", output="index"),
    "hour": Categorical("hour", output="index"),
    "arrival": Bucketized("sched_arr_time", num_buckets=24, output="index"),
    "carrier_hour": Crossed(("carrier", "hour"), num_bins=400, output="index"),
    "route": Crossed(("origin", "dest"), num_bins=400, output="index"),
    "distance": Numeric("distance"),
    "minute": Numeric("minute", scale="min_max"),
}

EXCLUDED = {
    "dep_time": "known only after departure",
    "dep_delay": "known only after departure, and most of the answer",
    "arr_time": "known only after arrival",
    "arr_delay": "known only after arrival, and the answer itself",
    "air_time": "known only after arrival",
    "year": "the same in every row",
    "month": "a span is a month: the model would know its own, and no other",
    "day": "dates do not come back, so the model would only remember them",
    "time_hour": "the date again",
    "sched_dep_time": "hour and minute again",
    "flight": "thousands of numbers with a handful of rows each",
    "tailnum": "thousands of aircraft with a handful of rows each, and reassigned at short notice",
}


def run_fn(fn_args: FnArgs):
    """Train embeddings of the schedule with a small dense network on top."""
    import keras

    inputs = fn_args.transform.inputs()
    width = int(fn_args.hyperparameters.get("embedding", 8))
    parts = []
    for name, feature in inputs.items():
        if feature.dtype.startswith("int"):
            embedding = keras.layers.Embedding(fn_args.transform.size(name), width)
            parts.append(keras.layers.Flatten()(embedding(feature)))
        else:
            parts.append(feature)
    hidden = keras.layers.Concatenate()(parts)
    for units in (64, 32):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
        hidden = keras.layers.Dropout(0.2, seed=fn_args.seed)(hidden)
    chance = keras.layers.Dense(1, activation="sigmoid")(hidden)

    model = keras.Model(inputs, chance)
    model.compile(
        optimizer=keras.optimizers.Adam(fn_args.hyperparameters.get("learning_rate", 2e-3)),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")],
    )
    model.fit(fn_args.train_data(), steps_per_epoch=fn_args.train_steps, epochs=1, verbose=2)
    return model
