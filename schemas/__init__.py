"""Reviewed data contracts, as TensorFlow Metadata schemas in text form, and work on such."""

import hashlib
from importlib import resources


def schema_text(name: str) -> str:
    """Return the text of the reviewed schema `name`, such as `"flights"`.

    Raises:
        FileNotFoundError: Penstock ships no such schema.
    """
    return resources.files(__name__).joinpath(f"{name}.pbtxt").read_text()


def schema_digest(text: str) -> str:
    """Return the digest that pins a schema: `sha256:<hex>` of its text in UTF-8."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8')).hexdigest()}"


def pinned_schema(text: str) -> dict[str, str]:
    """Return what `schema_gen` takes of a reviewed schema: its text, and the digest that pins it.

    `schema_gen(**pinned_schema(Path("trips.pbtxt").read_text()))` puts both into the compiled
    pipeline, and the step refuses a text of another digest.

    Args:
        text: A schema in text form.
    """
    return {"schema_text": text, "schema_digest": schema_digest(text)}
