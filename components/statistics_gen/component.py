from typing import List, Optional

from kfp import dsl

from ..artifacts import Examples, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def statistics_gen(
    examples: dsl.Input[Examples],
    statistics: dsl.Output[Statistics],
    report: dsl.Output[dsl.HTML],
    exclude_splits: Optional[List[str]] = None,
    sample_rate: float = 1.0,
    beam_pipeline_args: Optional[List[str]] = None,
) -> None:
    """Compute TFDV's descriptive statistics for every split.

    Args:
        examples: The data.
        exclude_splits: Splits to leave out.
        sample_rate: The share of rows to use, above 0 and up to 1; the same rows in every run.
        beam_pipeline_args: Beam's flags, such as `--runner=FlinkRunner`; in this process by
            default.

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
    )
    statistics.metadata.update(summary)
