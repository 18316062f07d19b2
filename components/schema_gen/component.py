from typing import Optional

from kfp import dsl

from ..artifacts import Schema
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def schema_gen(
    schema: dsl.Output[Schema],
    # An optional Input[Statistics] would be a NameError in the step: kfp imports the class of an
    # artifact for it, but does not look inside Optional.
    statistics: Optional[dsl.Input[dsl.Artifact]] = None,
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
