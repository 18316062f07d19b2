from typing import Dict, List, Optional

from kfp import dsl

from ..artifacts import Examples, Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def statistics_gen(
    examples: dsl.Input[Examples],
    statistics: dsl.Output[Statistics],
    report: dsl.Output[dsl.HTML],
    exclude_splits: Optional[List[str]] = None,
    sample_rate: float = 1.0,
    beam_pipeline_args: Optional[List[str]] = None,
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    schema: dsl.Input[Schema] = None,
    sample_rates: Optional[Dict[str, float]] = None,
    include_columns: Optional[List[str]] = None,
    exclude_columns: Optional[List[str]] = None,
    weight_column: str = "",
    label: str = "",
    slices: Optional[List[Dict[str, List[str]]]] = None,
    options: Optional[Dict[str, float]] = None,
    slice_sqls: Optional[List[str]] = None,
) -> None:
    """Compute TFDV's descriptive statistics for every split.

    Args:
        examples: The data.
        exclude_splits: Splits to leave out.
        sample_rate: The share of rows to use, above 0 and up to 1; the same rows in every run.
        beam_pipeline_args: Beam's flags, such as `--runner=FlinkRunner`; in this process by
            default.
        schema: Says which integers are categories and which strings are bytes; needed for a label.
        sample_rates: Sample rates of single splits, in place of sample_rate.
        include_columns: The only columns to count; all by default.
        exclude_columns: Columns to leave out.
        weight_column: A column of numbers that weigh the rows.
        label: The column that lift and mutual information are about; needs a schema.
        slices: Such as `[{"carrier": []}, {"carrier": ["UA"], "origin": []}]`, an empty list for
            every value; several columns give their crosses.
        options: TFDV's own numbers, such as `{"num_top_values": 50}`.
        slice_sqls: Slices by TFDV's slicing queries, in place of slices, such as
            `["SELECT STRUCT(carrier) FROM example.carrier WHERE example.distance > 1000"]`.

    Returns:
        statistics: One `stats.binpb` per split, which `tfdv.load_stats_binary` reads, a table of
            all and the page.
        report: The page of distributions, for Kubeflow's UI.
    """
    from penstock.components.statistics_gen.executor import generate_statistics

    summary = generate_statistics(
        examples.path,
        statistics.path,
        exclude_splits,
        sample_rate,
        beam_pipeline_args,
        report_path=report.path,
        sample_rates=sample_rates,
        include_columns=include_columns,
        exclude_columns=exclude_columns,
        weight_column=weight_column,
        label=label,
        slices=slices,
        slice_sqls=slice_sqls,
        schema_path=schema.path if schema else None,
        options=options,
    )
    statistics.metadata.update(summary)
