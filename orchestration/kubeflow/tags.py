"""Texts with `{{...}}` that Argo takes for its own: it refuses them, or replaces them."""

import re
from collections.abc import Iterator

from ..spec import Pipeline
from .arguments import arguments
from .finding import Finding, error, warning

# argo-workflows, util/template: from `{{` to the next `}}`; KFP's own begin with `$`.
TAG = re.compile(r"\{\{(.*?)\}\}")
# workflow/common/common.go, GlobalVarValidWorkflowVariablePrefix, less what passes its validation.
REFUSED = ("inputs.", "item.", "pod.", "steps.", "tasks.", "workflow.")
# workflow/common/common.go: what Argo knows of every workflow.
KNOWN = re.compile(
    r"workflow\.(name|namespace|uid|mainEntrypoint|serviceAccountName|status|duration|scheduledTime"
    r"|creationTimestamp(\.\w+)?|(parameters|annotations|labels)(\.json)?)"
)


def tag_findings(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield texts in sources, constants and defaults that do not reach a step as they are."""
    in_tasks: set[str] = set()
    for what, text in arguments(pipeline):
        tags = {found.strip() for found in TAG.findall(text)}
        where = what.split(",")[0]
        if where.startswith("task "):
            in_tasks |= tags
        elif not where.startswith("the container "):
            # A pipeline's text has those of its tasks in it.
            tags -= in_tasks
        for tag in sorted(tags):
            if tag.startswith("=") or KNOWN.fullmatch(tag):
                yield warning(
                    "tag",
                    f"{where} holds {{{{{tag}}}}}, which Argo replaces before a step sees it: "
                    "write it otherwise, or let a step read it from a file",
                )
            elif tag.startswith(REFUSED):
                # workflow/validate/validate.go: "failed to resolve {{...}}".
                yield error(
                    "tag",
                    f"{where} holds {{{{{tag}}}}}, which Argo takes for a reference of its own and "
                    "refuses: write it otherwise, or let a step read it from a file",
                )
