from typing import Any, Dict, Optional

from kfp import dsl

from ..artifacts import Examples, HyperParameters, Model, Schema, Statistics, TransformGraph
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def trainer(
    examples: dsl.Input[Examples],
    transform_graph: dsl.Input[TransformGraph],
    schema: dsl.Input[Schema],
    model: dsl.Output[Model],
    metrics: dsl.Output[dsl.Metrics],
    module: str,
    label: str,
    statistics: dsl.Input[Statistics] = None,
    base_model: dsl.Input[Model] = None,
    best_hyperparameters: dsl.Input[HyperParameters] = None,
    train_steps: int = 1000,
    epochs: Optional[int] = None,
    eval_steps: Optional[int] = None,
    batch_size: int = 512,
    train_split: str = "train",
    eval_split: str = "eval",
    seed: int = 0,
    hyperparameters: Optional[Dict[str, Any]] = None,
    custom_config: Optional[Dict[str, Any]] = None,
    strategy: str = "default",
    num_workers: int = 1,
    num_ps: int = 1,
    data_shards: Optional[int] = None,
    precision: str = "float32",
    jit: Optional[bool] = None,
    deterministic: bool = False,
    checkpoint_dir: str = "",
    checkpoint_steps: int = 500,
    max_restarts: int = 3,
    heartbeat_seconds: float = 300.0,
    kubernetes: Optional[Dict[str, Any]] = None,
):
    """Train the author's model and export it with its preprocessing inside.

    Args:
        examples: The rows.
        transform_graph: The preprocessing fitted to them; it becomes part of the exported model.
        schema: The raw columns, which the exported signature is checked against.
        module: The module that defines `run_fn`: an import path (installed where the step runs),
            the path of a `.py` file there, or what `author_file` or `author_wheel` give.
        label: The label's column, a number or boolean without missing values.
        statistics: Of the examples, for a `run_fn` that reads them.
        base_model: The model to start from, such as the champion; without it, training starts from
            the seed.
        best_hyperparameters: What a tuner found best, handed to `run_fn`.
        train_steps: How many batches to train on.
        epochs: In place of `train_steps`, how often to go over the training split.
        eval_steps: How many batches of the evaluation split to watch progress on; all when left
            out. The final metrics are always those of the whole split.
        batch_size: Rows per training batch.
        train_split: The split to learn from.
        eval_split: The split to report metrics on.
        seed: Seeds Python, NumPy, Keras and the order of the rows.
        hyperparameters: The author's own settings that a tuner may choose, handed to `run_fn`.
            They come before those that a tuner found.
        custom_config: The author's own settings besides, handed to `run_fn`.
        strategy: `default` (one device), `mirrored` (all GPUs of the machine), `multi_worker`
            (processes that share each step) or `parameter_server` (processes that do a step each,
            without waiting for the others).
        num_workers: How many processes, with `multi_worker` or `parameter_server`.
        num_ps: How many more hold the weights, with `parameter_server`.
        data_shards: Into how many parts the rows are divided, a multiple of `num_workers`; as many
            as there are workers when left out. What is learned depends on it, and not on how many
            workers share the parts.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16`.
        jit: Whether models are compiled with XLA; left to Keras when left out.
        deterministic: Whether every operation must give the same bits each time, at some cost.
        checkpoint_dir: A folder that outlives the step: a step that is run again goes on from the
            last checkpoint there.
        checkpoint_steps: Training steps between checkpoints.
        max_restarts: How often workers are started again after one was lost.
        heartbeat_seconds: A worker without a sign of life for so long counts as lost.
        kubernetes: Settings of a TrainJob or TFJob that trains in place of the step's own machine:
            `shared`, `claim`, `kind`, `cpu`, `memory`, `accelerators`, `tolerations` and more, as
            docs/training.md has them.

    Returns:
        model: The trained model: `serving/` (a SavedModel or another kind), `model.json` and
            `metrics.json`.
        metrics: The last training metrics, and those on the evaluation split.
    """
    from penstock.components.trainer.executor import train
    from penstock.components.trainer.scale import Scale

    trained = train(
        examples.path,
        transform_graph.path,
        schema.path,
        model.path,
        module,
        label,
        train_steps,
        batch_size,
        train_split,
        eval_split,
        seed,
        hyperparameters,
        statistics=statistics.path if statistics else None,
        base_model=base_model.path if base_model else None,
        best_hyperparameters=best_hyperparameters.path if best_hyperparameters else None,
        epochs=epochs,
        eval_steps=eval_steps,
        custom_config=custom_config,
        scale=Scale(
            strategy,
            num_workers,
            data_shards,
            precision,
            jit,
            deterministic,
            checkpoint_dir,
            checkpoint_steps,
            max_restarts,
            heartbeat_seconds,
            kubernetes,
            num_ps,
        ),
    )
    for name, value in trained["metrics"].items():
        metrics.log_metric(name, value)
    model.metadata.update(trained)
