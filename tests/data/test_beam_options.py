import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from penstock.data.beam import pipeline_options
from penstock.errors import PenstockError


@pytest.mark.parametrize("args", [None, [], ["--runner=DirectRunner"], ["--runner=direct"]])
def test_beam_runs_in_this_process_and_never_asks_for_prism(args):
    options = pipeline_options(args)
    assert isinstance(beam.Pipeline(options=options).runner, FnApiRunner)
    assert options.view_as(DirectOptions).direct_running_mode == "in_memory"


def test_the_callers_arguments_win():
    options = pipeline_options(["--runner=FlinkRunner", "--direct_running_mode=multi_processing"])
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    assert options.view_as(DirectOptions).direct_running_mode == "multi_processing"


@pytest.mark.parametrize("runner", ["DataflowRunner", "apache_beam.x.DataflowRunner", "dataflow"])
def test_a_runner_whose_workers_cannot_see_the_files_is_refused(runner):
    with pytest.raises(PenstockError, match=rf"names {runner}, whose workers cannot see the files"):
        pipeline_options([f"--runner={runner}"])


@pytest.mark.parametrize("arg", ["runner=FlinkRunner", "", 3])
def test_what_is_not_a_flag_is_refused(arg):
    with pytest.raises(PenstockError) as error:
        pipeline_options([arg])
    assert str(error.value) == (
        f"beam_pipeline_args holds {arg!r}, which is not a flag; write each as "
        '"--name=value", such as "--runner=FlinkRunner".'
    )
