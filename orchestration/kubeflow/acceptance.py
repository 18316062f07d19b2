"""Whether Kubeflow's backend accepts and runs a compiled pipeline, as far as its source tells.

The rules are those of the API server, of the compiler from PipelineSpec to Argo Workflow, of Argo's
own validation and of the driver, read in github.com/kubeflow/pipelines at 2.16.1 and 2.17.0; each
names its file, under `backend/src/` unless it says otherwise.
"""

from ..spec import Pipeline
from ..structure import structure_problems
from .constructs import construct_findings
from .finding import Finding, Severity, error
from .images import image_findings
from .limits import limit_findings
from .platform import platform_findings
from .signatures import signature_findings
from .tags import tag_findings


def findings(pipeline: Pipeline) -> list[Finding]:
    """Return what stands against running a pipeline on Kubeflow: errors first, in a fixed order.

    Args:
        pipeline: The pipeline; that it could be parsed is the first check, as Kubeflow's own is.
    """
    # v2/compiler/visitor.go and v2/compiler/argocompiler/dag.go refuse most of these; the rest ends
    # in v2/driver/resolve.go.
    broken = [error("structure", problem) for problem in structure_problems(pipeline)]
    if broken:
        # The other rules follow the references that these find broken.
        return [*broken, *limit_findings(pipeline)]
    found = [
        *limit_findings(pipeline),
        *tag_findings(pipeline),
        *construct_findings(pipeline),
        *signature_findings(pipeline),
        *image_findings(pipeline),
        *platform_findings(pipeline),
    ]
    return sorted(found, key=lambda finding: finding.severity is Severity.WARNING)
