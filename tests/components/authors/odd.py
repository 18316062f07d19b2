"""An author's module whose `run_fn` does what the hyperparameter `does` says."""

import keras
import tensorflow as tf

from penstock.components.transform.features import Categorical, Numeric

FEATURES = {"distance": Numeric("distance"), "carrier": Categorical("carrier")}


def run_fn(fn_args):
    return globals()[fn_args.hyperparameters["does"]](fn_args)


def raises(fn_args):
    raise RuntimeError("the author's own mistake")


def returns_nothing(fn_args):
    return None


def returns_a_dictionary(fn_args):
    return {"weights": [1, 2]}


def diverges(fn_args):
    model = linear(fn_args.transform.inputs())
    model.compile(keras.optimizers.SGD(1e30), "mse")
    model.fit(fn_args.train_data(), steps_per_epoch=20, verbose=0)
    return model


def gives_two_outputs(fn_args):
    inputs = fn_args.transform.inputs()
    return keras.Model(inputs, {"a": inputs["distance"], "b": inputs["distance"]})


class Noise(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def answers_at_random(fn_args):
    inputs = fn_args.transform.inputs()
    return keras.Model(inputs, Noise()(inputs["distance"]))


def takes_other_inputs(fn_args):
    return linear([keras.Input((1,), name="speed")])


def takes_some_features_by_name(fn_args):
    return linear({"distance": fn_args.transform.inputs()["distance"]})


def uses_one_feature(fn_args):
    model = linear([fn_args.transform.inputs()["distance"]])
    model.compile("adam", "mse")
    model.fit(fn_args.train_data(), steps_per_epoch=3, verbose=0)
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, features):
        return self.dense(features["distance"])[:, 0]


def is_a_subclass(fn_args):
    model = Subclassed()
    model.compile("adam", "mse")
    model.fit(fn_args.train_data(), steps_per_epoch=3, verbose=0)
    (fn_args.run_dir / "notes.txt").write_text("kept")
    return model


def exports_itself(fn_args):
    """A model of no framework, learned from the raw columns, exported by hand."""
    total = count = 0.0
    for raw, label in fn_args.train_data(transformed=False, repeat=False):
        assert set(raw) == set(fn_args.transform.columns)
        total, count = total + float(tf.reduce_sum(label)), count + len(label)
    return export(fn_args, base_rate=total / count)


def exports_without_examples(fn_args):
    return export(fn_args, examples=False)


def exports_another_output(fn_args):
    return export(fn_args, output="scores")


def exports_an_unknown_column(fn_args):
    return export(fn_args, column="speed")


def exports_another_type(fn_args):
    return export(fn_args, dtype=tf.int64)


def linear(inputs):
    parts = list(inputs.values()) if isinstance(inputs, dict) else inputs
    hidden = keras.layers.Concatenate()([*parts, *parts])
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


def export(
    fn_args,
    base_rate=0.5,
    examples=True,
    output="predictions",
    column="distance",
    dtype=tf.float32,
):
    @tf.function(input_signature=[tf.TensorSpec([None], dtype, name=column)])
    def from_raw(value):
        return {output: tf.fill([tf.shape(value)[0], 1], base_rate)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def from_examples(examples):
        return {output: tf.fill([tf.shape(examples)[0], 1], base_rate)}

    signatures = {"serving_default": from_raw}
    if examples:
        signatures["serving_examples"] = from_examples
    tf.saved_model.save(tf.Module(), str(fn_args.serving_dir), signatures=signatures)
