"""An author's module with every declaration, and a model that uses them all."""

from penstock.components.transform.features import (
    Bucketized,
    Categorical,
    Crossed,
    Hashed,
    Numeric,
)

FEATURES = {
    "z": Numeric("distance"),
    "unit": Numeric("delay", scale="min_max", missing=-5.0),
    "plain": Numeric("share", scale="none", missing=0),
    "hand": Bucketized("distance", boundaries=(250.5, 500.0, 1000.0)),
    "tenths": Bucketized("delay", num_buckets=10),
    "sevenths": Bucketized("share", num_buckets=7, output="index"),
    "carrier": Categorical("carrier"),
    "tail": Categorical("tail", max_tokens=50, num_oov=3, output="index"),
    "hour": Categorical("hour"),
    "rainy": Categorical("rainy"),
    "tail_hash": Hashed("tail", num_bins=40),
    "hour_hash": Hashed("hour", num_bins=6),
    "route": Crossed(("carrier", "hour"), num_bins=30),
    "triple": Crossed(("carrier", "hour", "tail"), num_bins=30),
}


def build(fn_args):
    import keras

    inputs = fn_args.transform.inputs()
    parts = [
        keras.layers.Flatten()(keras.layers.Embedding(fn_args.transform.size(name), 4)(value))
        if "int" in str(value.dtype)
        else value
        for name, value in inputs.items()
    ]
    hidden = keras.layers.Dense(32, "relu")(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy")
    return model


def run_fn(fn_args):
    from penstock.training.keras_run import keras_run_fn

    return keras_run_fn(fn_args, build, verbose=0)
