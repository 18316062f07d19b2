from typing import Dict, List, Optional

from kfp import dsl

from ..artifacts import Blessing, Examples, Model
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def bulk_inferrer(
    examples: dsl.Input[Examples],
    model: dsl.Input[Model],
    predictions: dsl.Output[Examples],
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    blessing: dsl.Input[Blessing] = None,
    splits: Optional[List[str]] = None,
    columns: Optional[List[str]] = None,
    outputs: Optional[Dict[str, str]] = None,
    signature: str = "",
    missing_features: str = "fail",
    batch_rows: int = 65536,
    checkpoint_dir: str = "",
    allow_unvalidated: bool = False,
    beam_pipeline_args: Optional[List[str]] = None,
) -> None:
    """Predict every row with a blessed model, and keep columns of your choice beside it.

    What comes out are Examples: the same rows in the same order, with a column of predictions. The
    evaluator evaluates them (`prediction_key` names the column), statistics_gen counts them.

    A model that is not blessed is refused, and so is one without a blessing, unless
    `allow_unvalidated`.

    Args:
        examples: The rows.
        model: The exported model, of any kind.
        blessing: The blessing of this very model.
        splits: Which splits; all by default.
        columns: Which columns to keep, such as a key and the label; all by default.
        outputs: Which outputs of the model, each with the name of its column, such as
            `{"predictions": "chance"}`; by default every output, under its own name.
        signature: Which signature of a SavedModel; `serving_default` when empty.
        missing_features: What happens where the examples lack a feature that the model takes:
            `fail`, or `as_missing`: it is missing in every row.
        batch_rows: The most rows that the model is asked about at once.
        checkpoint_dir: A folder that outlives the step: a step that is run again predicts only the
            shards that are not there yet.
        allow_unvalidated: Use a model without a blessing.
        beam_pipeline_args: Beam's flags, such as `["--runner=FlinkRunner"]`; by default Beam runs
            in this process.

    Returns:
        predictions: The columns that are kept and the predictions, as Examples.
    """
    from penstock.components.bulk_inferrer.executor import infer

    metadata = infer(
        examples.path,
        model.path,
        predictions.path,
        blessing.path if blessing else None,
        splits=splits,
        columns=columns,
        outputs=outputs,
        signature=signature,
        missing_features=missing_features,
        batch_rows=batch_rows,
        checkpoint_dir=checkpoint_dir,
        allow_unvalidated=allow_unvalidated,
        beam_pipeline_args=beam_pipeline_args,
    )
    predictions.metadata.update(metadata)
