"""The compiled pipeline: KFP's PipelineSpec, read strictly."""

import json
from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from ..errors import PenstockError

SCHEMA_VERSION = "2.1.0"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline and the text it was read from.

    Attributes:
        text: The YAML or JSON as given.
        spec: The parsed `PipelineSpec`.
        executors: Executor label to `ExecutorSpec`.
        platforms: Platform name to executor label to its configuration, such as kfp-kubernetes
            writes it.
    """

    text: str
    spec: pb.PipelineSpec
    executors: dict[str, pb.PipelineDeploymentConfig.ExecutorSpec]
    platforms: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec.pipeline_info.name)

    def component(self, task: pb.PipelineTaskSpec) -> pb.ComponentSpec:
        """Return the component that a task refers to."""
        return self.spec.components[task.component_ref.name]


def parse(text: str, where: str) -> Pipeline:
    """Read a compiled pipeline; a field that PipelineSpec does not know is an error.

    Args:
        text: YAML as `penstock compile` or KFP's compiler writes it, or the same as JSON. A second
            YAML document is the PlatformSpec.
        where: What to call the text in errors, such as its path.

    Raises:
        PenstockError: The text is not a PipelineSpec of schema version 2.1.0.
    """
    try:
        documents = list(yaml.load_all(text, Loader=LOADER))
    except yaml.YAMLError as error:
        raise PenstockError(
            f"{where} is not YAML ({one_line(error)}); expected a compiled pipeline, "
            "as `penstock compile` writes it."
        ) from error
    if not documents or not isinstance(documents[0], dict) or "root" not in documents[0]:
        raise PenstockError(
            f"{where} is not a compiled pipeline: expected a KFP PipelineSpec with `root`, "
            "`components` and `deploymentSpec`, as `penstock compile` writes it."
        )
    spec = _message(documents[0], pb.PipelineSpec(), where)
    if spec.schema_version != SCHEMA_VERSION:
        raise PenstockError(
            f"{where} has schemaVersion {spec.schema_version or 'none'}; Penstock runs "
            f"{SCHEMA_VERSION}, so compile the pipeline with KFP 2."
        )
    deployment = _message(
        json_format.MessageToDict(spec.deployment_spec), pb.PipelineDeploymentConfig(), where
    )
    if len(documents) > 2:
        raise PenstockError(
            f"{where} has {len(documents)} YAML documents; expected the pipeline and, at most, its "
            "PlatformSpec."
        )
    platforms: dict[str, dict[str, Any]] = {}
    if len(documents) > 1 and documents[1]:
        platform_spec = json_format.MessageToDict(
            _message(documents[1], pb.PlatformSpec(), f"{where}, its PlatformSpec,")
        )
        for platform, config in platform_spec.get("platforms", {}).items():
            platforms[platform] = config.get("deploymentSpec", {}).get("executors", {})
    return Pipeline(text, spec, dict(deployment.executors), platforms)


def documents(pipeline: Pipeline) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the PipelineSpec and the PlatformSpec as they were written, {} for one not there."""
    found = list(yaml.load_all(pipeline.text, Loader=LOADER))
    platform = pb.PlatformSpec()
    if len(found) > 1 and found[1]:
        _message(found[1], platform, pipeline.name)
    return json_format.MessageToDict(pipeline.spec), json_format.MessageToDict(platform)


def render(pipeline: Pipeline, document: dict[str, Any], platform: dict[str, Any]) -> Pipeline:
    """Return a pipeline of changed documents, in the form that KFP's compiler writes.

    Args:
        pipeline: The pipeline that they were made from.
        document: The PipelineSpec.
        platform: The PlatformSpec; nothing is written where it configures nothing.
    """
    document = json_format.MessageToDict(_message(document, pb.PipelineSpec(), pipeline.name))
    written = [document]
    if any(config for config in platform.get("platforms", {}).values()):
        written.append(platform)
    # Through JSON, so that nothing is written as an alias of something equal.
    text = yaml.safe_dump_all(json.loads(json.dumps(written)), sort_keys=True)
    return parse(_comments(document) + text, pipeline.name)


def _comments(document: dict[str, Any]) -> str:
    """Return the lines that KFP's compiler puts above a pipeline; none where it has no types."""
    from kfp.compiler.pipeline_spec_builder import extract_comments_from_pipeline_spec

    described = document.get("pipelineInfo", {}).get("description")
    try:
        return str(extract_comments_from_pipeline_spec(document, described))
    except KeyError:
        return ""


def _message(document: Any, message: Any, where: str) -> Any:
    try:
        return json_format.ParseDict(document, message)
    except json_format.ParseError as error:
        raise PenstockError(
            f"{where} is not a valid {type(message).__name__}: {one_line(error)}"
        ) from error


def one_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())


def plain(value: Any) -> Any:
    """Return a protobuf `Value` as Python: numbers without a fraction as int.

    Protobuf knows one kind of number. KFP's backend hands `2.0` to a step as `2`, and so does this;
    the declared type of a parameter decides afterwards.
    """
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "number_value":
        number = float(value.number_value)
        return int(number) if number.is_integer() and abs(number) < 2**63 else number
    if kind == "struct_value":
        return {key: plain(item) for key, item in sorted(value.struct_value.fields.items())}
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    return getattr(value, kind)


def plain_struct(struct: Any) -> dict[str, Any]:
    """Return a protobuf `Struct` as a dictionary; see `plain`."""
    return {key: plain(item) for key, item in sorted(struct.fields.items())}


def as_json(value: Any) -> str:
    """Return `value` as the JSON text that a placeholder is replaced by."""
    return json.dumps(value, ensure_ascii=False)
