"""Where Beam work runs, decided in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PenstockError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

# Since 2.68 Beam's `DirectRunner` first tries Prism, a binary that it downloads. What it falls back
# to for batch work, and what it was before, is this runner.
IN_PROCESS_RUNNER = "FnApiRunner"
# A step's elements are paths of files, which workers on machines of Google's cannot open.
NO_SHARED_FILES = ("dataflowrunner", "dataflow", "testdataflowrunner")


def pipeline_options(beam_pipeline_args: Sequence[str] | None = None) -> PipelineOptions:
    """Return Beam options: the DirectRunner in memory in this process, unless told otherwise.

    Args:
        beam_pipeline_args: Beam's own command-line flags, such as `["--runner=FlinkRunner",
            "--flink_master=..."]`. They win over the defaults. `--runner=DirectRunner` means the
            in-process runner here too, so that nothing is downloaded; the parallel modes are
            `--direct_running_mode=multi_processing --direct_num_workers=<n>`.

    Raises:
        PenstockError: An argument is not a `--flag`, or the runner's workers would not see the
            files of the step.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    args = list(beam_pipeline_args or [])
    for arg in args:
        if not isinstance(arg, str) or not arg.startswith("--"):
            raise PenstockError(
                f"beam_pipeline_args holds {arg!r}, which is not a flag; "
                'write each as "--name=value", such as "--runner=FlinkRunner".'
            )
    options = PipelineOptions(flags=["--direct_running_mode=in_memory", *args])
    runner = options.get_all_options().get("runner")
    if runner is not None and runner.rpartition(".")[2].lower() in NO_SHARED_FILES:
        raise PenstockError(
            f"beam_pipeline_args names {runner}, whose workers cannot see the files of this step; "
            "name a runner whose workers mount the step's folders, such as FlinkRunner or "
            "SparkRunner, or leave the runner out (docs/beam.md)."
        )
    if runner is None or runner in ("DirectRunner", "direct", "SwitchingDirectRunner"):
        args.append(f"--runner={IN_PROCESS_RUNNER}")
    return PipelineOptions(flags=["--direct_running_mode=in_memory", *args])
