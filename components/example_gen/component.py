from typing import Any, Dict, List, Optional

from kfp import dsl

from ..artifacts import Examples, Schema
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def example_gen(
    examples: dsl.Output[Examples],
    pattern: str = "",
    source: Optional[dsl.Input[dsl.Dataset]] = None,
    file_format: str = "auto",
    splits: Dict[str, float] = {"train": 2.0, "eval": 1.0},
    first_span: Optional[int] = None,
    last_span: Optional[int] = None,
    split_columns: Optional[List[str]] = None,
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    schema: dsl.Input[Schema] = None,
    csv: Dict[str, Any] = {},
    max_quarantined_share: float = 0.0,
    patterns: Dict[str, str] = {},
    window: Dict[str, Any] = {},
    split_by: Dict[str, Any] = {},
    leakage: Dict[str, Any] = {},
    query: str = "",
    columns: Optional[List[str]] = None,
    filter: str = "",
    sample_rate: float = 1.0,
    shuffle_seed: Optional[int] = None,
    shards: Dict[str, Any] = {},
    beam_pipeline_args: Optional[List[str]] = None,
) -> None:
    """Read files or a query, divide the rows into splits, and write them as Examples.

    A row's split follows from its content alone: the same row falls in the same split in every
    file, order, span and run. Rows that are equal fall in one split.

    Args:
        pattern: The files, by path or by URL (s3 and what else fsspec knows), such as
            `data/{YYYY}-{MM}-{DD}/*.csv`: wildcards `*`, `?` and `**`, and placeholders `{SPAN}`,
            `{VERSION}` (both with a width, as in `{SPAN:2}`), or `{YYYY}`, `{MM}` and `{DD}`
            together.
        source: A folder that the pattern is relative to.
        file_format: `csv`, `parquet`, `jsonl`, `tfrecord`, `avro`, or `auto` to go by the
            endings.
        splits: The weight of each split.
        first_span: The first span to read; the first there is when only last_span is given.
        last_span: The last span to read. With neither, the latest span is read, and of every
            span its latest version.
        split_columns: Divide by these columns only, so that rows that agree in them stay
            together; by the whole row when not given.
        schema: The columns' types: a schema from schema_gen. Columns that it leaves out are
            inferred.
        csv: How CSV files are written: `columns` (their names, when the first line has none),
            `delimiter`, `quote`, `nulls`, `dates` (parse them), `skip_lines`.
        max_quarantined_share: The share of malformed rows, in [0, 1], that is put aside with
            file, line and reason; above it the step fails.
        patterns: The files of each split, in place of pattern and splits. Their spans and versions
            must agree.
        window: The spans to read, counted back from the newest when the step runs: `last` (how
            many), `skip` (of the newest), `exclude` (a list), `minimum` (`last` by default).
        split_by: How to divide when not by hash: `{"time": column, "order": [splits], "cuts":
            [values]}`, `{"stratify": column}`, `{"column": column}` whose values name the splits,
            or `{"folds": k}`.
        leakage: What to check between splits: `groups` (columns), `time` (a column) and `train` (a
            split); `policy` is `count`, `fail` or `skip`.
        query: What to ask the database whose SQLAlchemy URL is the pattern; `$NAME` in the URL is
            read from the step's environment.
        columns: The columns to keep; all when not given.
        filter: The rows to keep, such as `distance > 100 and origin in ["JFK", "LGA"]`.
        sample_rate: The share of the rows to keep, drawn by their content.
        shuffle_seed: Draw the order of the rows by this seed; the sources' order when not given.
        shards: How shards are written: `rows` in each, and `compression`.
        beam_pipeline_args: Beam's flags, such as `--runner=FlinkRunner`, to convert on a Beam
            runner; without one when not given.

    Returns:
        examples: Parquet shards per split and their manifest.
    """
    from penstock.components.example_gen.executor import generate_examples

    summary = generate_examples(
        examples.path,
        pattern,
        source.path if source else None,
        file_format,
        splits,
        first_span,
        last_span,
        split_columns,
        schema_path=schema.path if schema else None,
        csv=csv,
        max_quarantined_share=max_quarantined_share,
        patterns=patterns,
        window=window,
        split_by=split_by,
        leakage=leakage,
        query=query,
        columns=columns,
        filter=filter,
        sample_rate=sample_rate,
        shuffle_seed=shuffle_seed,
        shards=shards,
        beam_pipeline_args=beam_pipeline_args,
    )
    examples.metadata.update(summary)
