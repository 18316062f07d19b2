"""An author's module as most are: a Keras model on the transformed features."""

import keras

from penstock.components.transform.features import Bucketized, Categorical, Crossed, Numeric
from penstock.training.fn_args import FnArgs

FEATURES = {
    "distance": Numeric("distance"),
    "hour": Bucketized("hour", boundaries=(6, 12, 18)),
    "carrier": Categorical("carrier"),
    "tail": Categorical("tail", max_tokens=30, num_oov=2, output="index"),
    "route": Crossed(("carrier", "hour"), num_bins=20),
}


def run_fn(fn_args: FnArgs) -> keras.Model:
    inputs = fn_args.transform.inputs()
    tail = keras.layers.Embedding(fn_args.transform.size("tail"), 4)(inputs["tail"])
    parts = [keras.layers.Flatten()(tail)] + [v for n, v in inputs.items() if n != "tail"]
    hidden = keras.layers.Concatenate()(parts)
    hidden = keras.layers.Dense(fn_args.hyperparameters.get("units", 16), "relu")(hidden)
    hidden = keras.layers.Dropout(0.1)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    model.fit(fn_args.train_data(), steps_per_epoch=fn_args.train_steps, verbose=0)
    return model
