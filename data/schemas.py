"""The Schema format: a TensorFlow Metadata schema as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PenstockError

if TYPE_CHECKING:
    import os

    from tensorflow_metadata.proto.v0 import schema_pb2

SCHEMA = "schema.pbtxt"
# The same for others: a JSON Schema of a row, and a Parquet file without rows.
JSON = "schema.json"
ARROW = "schema.parquet"


def parse_schema(text: str, where: str) -> schema_pb2.Schema:
    """Parse a schema, strictly: an unknown field is an error.

    Args:
        text: A `tensorflow.metadata.v0.Schema` in protobuf's text form.
        where: What messages call the text, such as a file's path.

    Raises:
        PenstockError: The text is no schema (the sentence gives line and column), or one without
            features.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    try:
        text_format.Parse(text, schema)
    except text_format.ParseError as error:
        line, column = error.GetLine() or 1, error.GetColumn() or 1
        reason = str(error).removeprefix(f"{line}:{column} : ").rstrip(".")
        raise PenstockError(
            f"{where} is not a schema (line {line}, column {column}: {reason}); expected a "
            "tensorflow.metadata.v0.Schema in text form, as schema_gen writes it."
        ) from error
    if not schema.feature:
        raise PenstockError(
            f"{where} is a schema without features; describe at least one column as feature "
            '{ name: "..." type: INT }.'
        )
    return schema


def load_schema(path: str | os.PathLike[str]) -> schema_pb2.Schema:
    """Read the schema in the folder `path`.

    Raises:
        PenstockError: There is none, or it is not one.
    """
    file = Path(path) / SCHEMA
    if not file.is_file():
        raise PenstockError(
            f"There is no schema at {path}: {SCHEMA} is missing; give the folder that schema_gen "
            "wrote."
        )
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PenstockError(f"{file} is not UTF-8 text; write the schema in text form.") from error
    return parse_schema(text, str(file))
