"""From a folder to a model that answers."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from ..errors import PenstockError
from .estimators import LIBRARIES
from .model import DESCRIPTION, SERVING, Model, is_import_path, read_description

# Each is imported when a model of its kind is loaded: none needs the others' libraries.
KINDS = {"keras": "keras_model:KerasModel", **LIBRARIES}


def load_model(
    path: str | os.PathLike[str], *, signature: str = "", output: str | None = ""
) -> Model:
    """Load a model, whatever made it.

    Nothing that lies in the folder is run as code: no pickle is read, and a kind of the author's
    own is a class that is installed here.

    Args:
        path: A Model artifact's folder, its `serving/`, or a pushed version of it.
        signature: Which signature of a SavedModel to call; `serving_default` when empty.
        output: Which of the signature's outputs is the prediction; may be empty if it has one.
            None for any, where several are going to be asked for by `predict_outputs`.

    Returns:
        The model: its `signature` says what it takes and gives, `predict(rows)` answers.

    Raises:
        PenstockError: There is no model, it is unreadable, its library is not installed, or it
            lacks the signature or output.
    """
    folder = serving_folder(path)
    kind = model_kind(folder)
    if kind == "saved_model":
        from .saved_model import SavedModel

        return SavedModel.load(folder, signature=signature, output=output)
    if signature or output not in (None, "", "predictions"):
        asked = f"the signature {signature!r}" if signature else f"the output {output!r}"
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, which has no choice of signatures and "
            f"gives 'predictions' alone, and {asked} was asked for; leave it out."
        )
    return _class_of(kind, folder).load(folder)


def serving_folder(path: str | os.PathLike[str]) -> Path:
    """Return where the servable model lies: `path` itself, or its `serving/`."""
    inside = Path(path) / SERVING
    return inside if inside.is_dir() else Path(path)


def model_kind(folder: Path) -> str:
    """Return the kind of the servable model in `folder`.

    Returns:
        `saved_model`, or what its `signature.json` says: `keras`, `sklearn`, `xgboost`,
        `lightgbm` or `package.module:Class`.

    Raises:
        PenstockError: There is no model.
    """
    if (folder / "saved_model.pb").is_file():
        return "saved_model"
    if (folder / DESCRIPTION).is_file():
        return read_description(folder)[0]
    raise PenstockError(
        f"There is no model at {folder}: neither saved_model.pb nor {DESCRIPTION}, so no "
        "SavedModel and no other kind; give the folder that the trainer wrote."
    )


def _class_of(kind: str, folder: Path) -> type[Model]:
    if kind not in KINDS and not is_import_path(kind):
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, and this version knows saved_model, "
            f"{', '.join(KINDS)} and package.module:Class; load it with the version that wrote it."
        )
    module, _, name = KINDS.get(kind, kind).partition(":")
    try:
        if kind in KINDS:
            found = getattr(importlib.import_module(f".{module}", __package__), name)
        else:
            found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        how = f"install penstock[{kind}]" if kind in KINDS else "install the package it is in"
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, which needs {error.name or error}, and "
            f"that is not installed here; {how}."
        ) from error
    except OSError as error:
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, whose library does not load here "
            f"({error}); install the system's package of what it misses, such as libgomp1."
        ) from error
    except AttributeError as error:
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, and {module} has no {name} here; install "
            "the version of the package that the model was made with."
        ) from error
    # A class, not any callable: a description must not be able to have something else called.
    if not isinstance(found, type) or not issubclass(found, Model):
        raise PenstockError(
            f"The model at {folder} is of kind {kind!r}, which is no subclass of "
            "penstock.models.model.Model; derive it from that."
        )
    return found
