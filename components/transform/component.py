from typing import List, Optional

from kfp import dsl

from ..artifacts import Examples, Model, Schema, Statistics, TransformGraph
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def transform(
    examples: dsl.Input[Examples],
    statistics: dsl.Input[Statistics],
    schema: dsl.Input[Schema],
    transform_graph: dsl.Output[TransformGraph],
    module: str,
    base_model: dsl.Input[Model] = None,
    train_split: str = "train",
    beam_pipeline_args: Optional[List[str]] = None,
):
    """Fit the features that the author's module declares, as one Keras model.

    Training and serving both run this model, so there is no second implementation of the
    preprocessing. What a statistic determines is taken from the statistics; only the rest is read
    from the examples.

    Args:
        examples: The rows; the training split is fitted to.
        statistics: Their statistics, the training split among them.
        schema: Says of what type each column is.
        module: The module that defines `FEATURES`: an import path (installed where the step runs),
            the path of a `.py` file there, or what `author_file` or `author_wheel` give.
        base_model: The model that training will start from, such as the champion. Features that
            are declared as its were keep its vocabularies, boundaries and scales, so that its
            weights go on meaning what they meant.
        train_split: The split to fit to.
        beam_pipeline_args: Beam's flags, such as `--runner=FlinkRunner`, to read on that runner
            what the statistics do not determine; in this process by default.

    Returns:
        transform_graph: The fitted preprocessing: `preprocessing.keras` and `transform.json`.
    """
    from penstock.components.transform.executor import fit_transform

    transform_graph.metadata.update(
        fit_transform(
            examples.path,
            statistics.path,
            schema.path,
            transform_graph.path,
            module,
            train_split,
            base_model.path if base_model else None,
            beam_pipeline_args,
        )
    )
