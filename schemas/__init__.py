"""Reviewed data contracts, as TensorFlow Metadata schemas in text form."""

from importlib import resources


def schema_text(name: str) -> str:
    """Return the text of the reviewed schema `name`, such as `"flights"`.

    Raises:
        FileNotFoundError: Penstock ships no such schema.
    """
    return resources.files(__name__).joinpath(f"{name}.pbtxt").read_text()
