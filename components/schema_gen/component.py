from typing import List, Optional

from kfp import dsl

from ..artifacts import Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def schema_gen(
    schema: dsl.Output[Schema],
    proposal: dsl.Output[dsl.Markdown],
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    statistics: dsl.Input[Statistics] = None,
    schema_text: str = "",
    infer_split: str = "train",
    schema_digest: str = "",
    environment: str = "",
    infer_ranges: bool = False,
    infer_shapes: bool = True,
    max_string_domain_size: int = 100,
    labels: Optional[List[str]] = None,
) -> None:
    """Take a reviewed schema as it is, or infer one from statistics.

    With both, the reviewed schema is taken, and what the statistics would need of it is proposed.

    Args:
        statistics: What to infer or propose from; not needed with schema_text.
        schema_text: A reviewed schema: the text of a `tensorflow.metadata.v0.Schema`. When it is
            given nothing is inferred.
        infer_split: The split whose statistics are used.
        schema_digest: `sha256:<hex>` of the reviewed schema; any other text is refused.
        environment: An environment of the reviewed schema that the statistics belong to, such as
            `TRAINING`.
        infer_ranges: Give numbers the range that they were found in.
        infer_shapes: Infer fixed shapes where every row has the same number of values.
        max_string_domain_size: Words that are more than these are not a domain.
        labels: Features that serving rows do not have; they are left out of the environment
            SERVING.

    Returns:
        schema: `schema.pbtxt`, which `tfdv.load_schema_text` reads; the same as JSON Schema and as
            a Parquet file without rows.
        proposal: The changes to the reviewed schema that the statistics call for, as a diff.
    """
    from penstock.components.schema_gen.executor import generate_schema

    summary = generate_schema(
        schema.path,
        statistics.path if statistics else None,
        schema_text,
        infer_split,
        schema_digest=schema_digest,
        proposal_path=proposal.path,
        environment=environment,
        infer_ranges=infer_ranges,
        infer_shapes=infer_shapes,
        max_string_domain_size=max_string_domain_size,
        labels=labels,
    )
    schema.metadata.update(summary)
