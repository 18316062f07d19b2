"""Whether a model may be used, by the verdicts on it: one rule for every step that uses one."""

from __future__ import annotations

import os

from ..errors import PenstockError
from .blessing import Blessing, read_blessing
from .infra_blessing import InfraBlessing


def read_blessing_of(
    blessing: str | os.PathLike[str] | None, model: str | os.PathLike[str], digest: str
) -> Blessing | None:
    """Read the blessing of a model; None where there is none.

    Args:
        blessing: The Blessing's folder, or None.
        model: Where the model lies, for the error.
        digest: Of its `serving/`.

    Raises:
        PenstockError: It is unreadable, or of another model.
    """
    record = None if blessing is None else read_blessing(blessing)
    check_of_model(record, model, digest)
    return record


def check_of_model(
    verdict: Blessing | InfraBlessing | None, model: str | os.PathLike[str], digest: str
) -> None:
    """Hold a verdict to be of this very model; None passes.

    Raises:
        PenstockError: It is of another model.
    """
    if verdict is None or verdict.model_digest == digest:
        return
    infra = isinstance(verdict, InfraBlessing)
    what, gate = ("infra blessing", "infra_validator") if infra else ("blessing", "evaluator")
    raise PenstockError(
        f"The {what} is of another model ({verdict.model_digest}) than the one at {model} "
        f"({digest}); give the one that the {gate} wrote for this model."
    )


def clearance(
    blessing: Blessing | None,
    allow_unvalidated: bool,
    *,
    component: str,
    done: str,
    infra_blessing: InfraBlessing | None = None,
) -> tuple[bool, str]:
    """Return whether a model may be used, and why, in words.

    Every verdict that is given must be good, as in TFX: what one refuses, `allow_unvalidated` does
    not allow. None given is a refusal, unless `allow_unvalidated`.

    Args:
        blessing: The evaluator's verdict; a forced one counts until it expires.
        allow_unvalidated: Use a model that nobody has looked at.
        component: Who asks, such as `pusher`.
        done: What happens to a model that may be used, such as `Pushed`.
        infra_blessing: The infra_validator's verdict.
    """
    reasons = []
    if blessing is not None:
        stands, reason = blessing.stands()
        if not stands:
            return False, f"The model is not blessed: {reason}"
        reasons.append(reason)
    if infra_blessing is not None:
        if not infra_blessing.blessed:
            return False, f"The model cannot be served: {infra_blessing.reason}"
        reasons.append(infra_blessing.reason)
    if reasons:
        return True, " ".join(reasons)
    if allow_unvalidated:
        return True, f"{done} without validation, as allow_unvalidated says."
    return False, (
        f"The model was not validated: no blessing is wired to the {component}; wire the "
        "evaluator's, or set allow_unvalidated."
    )
