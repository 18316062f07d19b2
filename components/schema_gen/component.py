from kfp import dsl

from ..artifacts import Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def schema_gen(
    schema: dsl.Output[Schema],
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    statistics: dsl.Input[Statistics] = None,
    schema_text: str = "",
    infer_split: str = "train",
) -> None:
    """Take a reviewed schema as it is, or infer one from statistics.

    Args:
        statistics: What to infer from; not needed with schema_text.
        schema_text: A reviewed schema: the text of a `tensorflow.metadata.v0.Schema`. When it is
            given nothing is inferred.
        infer_split: The split whose statistics the schema is inferred from.

    Returns:
        schema: `schema.pbtxt`, which `tfdv.load_schema_text` reads.
    """
    from penstock.components.schema_gen.executor import generate_schema

    summary = generate_schema(
        schema.path, statistics.path if statistics else None, schema_text, infer_split
    )
    schema.metadata.update(summary)
