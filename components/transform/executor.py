"""Fit the author's features and save them as one Keras model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ...data.digest import digest_path
from ...data.examples import read_manifest, shard_paths
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...errors import PenstockError
from ...training.author import author_attribute, load_author_module, module_source
from ...training.author_code import module_name
from .base_model import states_of
from .counts import Keys, count_values
from .features import check_features
from .fit import fit_feature
from .inputs import check_categories, check_columns, split_statistics


def fit_transform(
    examples: str | os.PathLike[str],
    statistics: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    transform_graph: str | os.PathLike[str],
    module: str,
    train_split: str = "train",
    base_model: str | os.PathLike[str] | None = None,
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Fit the features that the author's module declares; write a TransformGraph.

    Args:
        examples: Folder of the Examples.
        statistics: Folder of their Statistics.
        schema: Folder of the Schema.
        transform_graph: Where to write.
        module: Import path or `.py` file of the module that defines `FEATURES`.
        train_split: The split to fit to.
        base_model: Folder of the Model that training will start from. Features that are declared
            as its were keep its state: vocabularies, boundaries and scales.
        beam_pipeline_args: Beam's flags, to read on a runner what statistics do not determine;
            None reads the shards in this process. See `penstock.data.beam`.

    Returns:
        Metadata: `summary`, `module`, `module_digest`, `train_rows`, `features` (their number),
        `sources` (how many were fitted from statistics or data, taken from `base_model`, or needed
        no fitting).

    Raises:
        PenstockError: The module, a declaration, a column or the data is not as it should be; the
            sentence says what to do.
    """
    manifest = read_manifest(examples)
    rows = manifest.rows(train_split)
    if rows == 0:
        raise PenstockError(
            f"Split {train_split!r} of the examples has no rows, so there is nothing to fit to; "
            "look at example_gen's pattern and weights."
        )
    author = load_author_module(module)
    what = "a dictionary of features (penstock.components.transform.features)"
    features = check_features(author_attribute(author, "FEATURES", what), module_source(author))
    kinds = check_columns(features, manifest, load_schema(schema))
    seen = split_statistics(statistics, train_split, rows)
    check_categories(features, kinds, seen)

    def counts(column: str, keys: Keys) -> pa.Table:
        files = shard_paths(examples, train_split)
        return count_values(files, column, keys, beam_pipeline_args)

    kept = states_of(base_model, features) if base_model is not None else {}
    states = {
        name: kept.get(name) or fit_feature(name, feature, seen.get(feature.columns[0]), counts)
        for name, feature in features.items()
    }
    origin = {
        "module": module_name(module),
        "module_digest": digest_path(module_source(author)),
        "train_split": train_split,
        "examples_digest": manifest.content_digest,
    }
    # Keras and TensorFlow take seconds to import; bad input should not wait for them.
    from .graph import write_transform_graph
    from .preprocessing import build_preprocessing

    with new_folder(transform_graph) as folder:
        model = build_preprocessing(features, states, kinds)
        content = write_transform_graph(folder, model, features, states, kinds, origin)
    sources = dict(sorted(Counter(state.source for state in states.values()).items()))
    width = sum(feature["width"] for feature in content["features"].values())
    fitted = ", ".join(f"{n} from {source.replace('_', ' ')}" for source, n in sources.items())
    return {
        "summary": f"{len(features)} features, {width} wide, fitted {fitted}",
        "module": origin["module"],
        "module_digest": origin["module_digest"],
        "train_rows": rows,
        "features": len(features),
        "sources": sources,
    }
