"""Model versions in an object store as TensorFlow Serving expects them: `<url>/<number>/...`.

An object store has no lock and renames nothing, so the order of writing takes their place:

1. The files go aside, below `.penstock/incoming/`, and are read back and compared by digest.
2. The number is claimed by making `.penstock/versions/<number>.json` under the condition that it is
   not there (`If-None-Match: *` in S3, `ifGenerationMatch=0` in Google's). Who finds it there looks
   again; so numbers rise, and of two that push the same content the second joins the first's claim.
3. The store copies the files to `<number>/`, and the one without which no version loads last.
   TensorFlow Serving takes every folder with a number for a version
   (file_system_storage_path_source.cc), loads the highest, goes on serving the one before until it
   is loaded, and tries again when it is not (loader_harness.cc). Without `saved_model.pb` it is
   not; without `variables/` alone it would be, with nothing in its variables.

A push that is killed leaves a claim whose files are not all there. That is no version; pushing the
same content completes it, other content takes the next number.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from ..data.digest import digest_names
from ..errors import PenstockError
from .object_store import ServingBucket, clear_old, create, digest_of, files, upload, writing
from .serving_folder import HIDDEN, WARMUP

# What lies aside for longer was left by a push that was killed.
_LEFT_FOR = timedelta(days=1)
# Without one of these, a model of ours is not loaded.
_LAST = ("saved_model.pb", "signature.json")


@dataclass(frozen=True)
class Claim:
    """A number that was given to a content.

    Attributes:
        version: The number.
        content_digest: Of the model's files.
        folder: Where they lie below the place: the number, or twice the number.
        files: Their names and sizes in bytes, in the order they are copied.
        id: Tells it from every other.
        removed: Whether the files were taken away again.
    """

    version: int
    content_digest: str
    folder: str
    files: dict[str, int]
    id: str = ""
    removed: bool = False

    @property
    def layout(self) -> str:
        """Return how the files lie: as TensorFlow Serving or as KServe's servers take them."""
        return "nested" if "/" in self.folder else "flat"


def layout_of(files: Iterable[str], for_kserve: bool) -> str:
    """Return how a model's files must lie.

    KServe gives a server one folder. Its TensorFlow Serving takes that for a folder of versions, so
    a SavedModel lies in `<number>/<number>/`, and `<number>/` is a folder of one version.
    """
    return "nested" if for_kserve and "saved_model.pb" in files else "flat"


def claims(bucket: ServingBucket) -> list[Claim]:
    """Return the numbers that were given out by us, ascending."""
    folder = f"{bucket.path}/{HIDDEN}/versions"
    places = [f"{folder}/{name}" for name in files(bucket, folder)]
    found = bucket.filesystem.cat(places, on_error="omit") if places else {}
    read = [_claim_of(bucket, name, content) for name, content in found.items()]
    return sorted(read, key=lambda claim: claim.version)


def versions(bucket: ServingBucket) -> list[int]:
    """Return the numbers of the versions that can be loaded, ascending, also other tools'."""
    given = {claim.version: claim for claim in claims(bucket)}
    return [n for n in _numbers(bucket) if n not in given or complete(bucket, given[n])]


def newest(bucket: ServingBucket) -> Claim | None:
    """Return the version that TensorFlow Serving loads; None for none, or another tool's."""
    there = versions(bucket)
    return next((c for c in claims(bucket) if there and c.version == there[-1]), None)


def complete(bucket: ServingBucket, claim: Claim) -> bool:
    """Tell whether all files of a version are there."""
    if claim.removed:
        return False
    there = files(bucket, f"{bucket.path}/{claim.folder}")
    return all(there.get(name) == size for name, size in claim.files.items())


def claim_with(bucket: ServingBucket, digest: str, for_kserve: bool = False) -> Claim | None:
    """Return the newest version with this content; if none is complete, the newest claim to it."""
    found = [
        claim
        for claim in claims(bucket)
        if claim.content_digest == digest
        and claim.layout == layout_of(claim.files, for_kserve)
        and not claim.removed
    ]
    best = [claim for claim in found if complete(bucket, claim)] or found
    return best[-1] if best else None


def publish(
    bucket: ServingBucket,
    content: Path,
    digest: str,
    *,
    warmup: Path | None = None,
    for_kserve: bool = False,
    before: Callable[[str], None] | None = None,
) -> tuple[Claim, bool]:
    """Have the store hold the content as a version.

    Args:
        bucket: Where.
        content: The folder with the model's files.
        digest: Of the content, which what arrives must have.
        warmup: Warm-up requests to put in; what the content has of its own stays.
        for_kserve: Lay the files as KServe's servers take them; see `layout_of`.
        before: Called with the version's URL when only the last file is left to copy; what it
            raises stops the push. With it, the content gets a number of its own in any case, as one
            that shall be served now.

    Returns:
        The version, and whether it was there already.

    Raises:
        PenstockError: The store cannot be written to, or what arrived differs; no version of this
            content can be loaded then that could not before.
    """
    with writing(bucket):
        claim = None if before else claim_with(bucket, digest, for_kserve)
        if claim is not None and complete(bucket, claim):
            return claim, True
        with _uploaded(bucket, content, digest, warmup) as aside:
            if claim is None:
                sizes = _sizes(bucket, aside)
                claim = _take_number(bucket, digest, sizes, for_kserve, joins=before is None)
            _reveal(bucket, aside, claim, before)
    return claim, False


def serve_again(bucket: ServingBucket, digest: str, before: Callable[[str], None]) -> Claim | None:
    """Make an earlier version the newest again: the store copies it to a new number.

    Args:
        bucket: Where.
        digest: Of the content to serve.
        before: As in `publish`.

    Returns:
        The version that is newest now; None if no version has this content.
    """
    with writing(bucket):
        there = claim_with(bucket, digest)
        if there is None or not complete(bucket, there):
            return None
        if there.version == versions(bucket)[-1]:
            before(f"{bucket.url}/{there.folder}")
            return there
        claim = _take_number(bucket, digest, there.files, False, joins=False)
        _reveal(bucket, f"{bucket.path}/{there.folder}", claim, before)
    return claim


def remove_old(bucket: ServingBucket, keep: int, needed: Container[str] = ()) -> list[int]:
    """Remove all versions but the newest.

    Args:
        bucket: Where.
        keep: So many stay, at least 1.
        needed: Digests of content that stays too, such as what a registry's aliases point to.

    Returns:
        The numbers of the removed ones.
    """
    with writing(bucket):
        given = {claim.version: claim for claim in claims(bucket)}
        removed = [
            number
            for number in versions(bucket)[:-keep]
            if number in given and given[number].content_digest not in needed
        ]
        for number in removed:
            _withdraw(bucket, given[number])
            # The highest number is never removed here, so the next one goes on rising.
            bucket.filesystem.rm_file(_place(bucket, given[number]))
    return removed


def _take_number(
    bucket: ServingBucket, digest: str, files: Mapping[str, int], for_kserve: bool, *, joins: bool
) -> Claim:
    """Claim the next number; with `joins`, take the claim of one who was faster with the same."""
    while True:
        given = claims(bucket)
        if joins and (found := claim_with(bucket, digest, for_kserve)) is not None:
            return found
        number = max([0, *_numbers(bucket), *(claim.version for claim in given)]) + 1
        folder = f"{number}/{number}" if layout_of(files, for_kserve) == "nested" else str(number)
        claim = Claim(number, digest, folder, dict(files), uuid.uuid4().hex)
        if create(bucket, _place(bucket, claim), _content(claim)):
            return claim


def _reveal(
    bucket: ServingBucket, source: str, claim: Claim, before: Callable[[str], None] | None
) -> None:
    """Copy the files to where they are seen, the last of them last."""
    target = f"{bucket.path}/{claim.folder}"
    there, done = files(bucket, source), files(bucket, target)
    names = [name for name in there if name not in claim.files] + list(claim.files)
    # What another push of the same has copied already is not written again under a reader's eyes.
    missing = [name for name in names if done.get(name) != there.get(name)]
    for name in missing:
        if name != names[-1]:
            bucket.filesystem.cp_file(f"{source}/{name}", f"{target}/{name}")
    if before is not None:
        try:
            before(f"{bucket.url}/{claim.folder}")
        except BaseException:
            _withdraw(bucket, claim)
            raise
    if names[-1] in missing:
        bucket.filesystem.cp_file(f"{source}/{names[-1]}", f"{target}/{names[-1]}")
    if not complete(bucket, claim):
        raise PenstockError(
            f"Version {claim.version} at {bucket.url} is not what was copied there; look who else "
            "writes there, and push again."
        )


def _withdraw(bucket: ServingBucket, claim: Claim) -> None:
    """Take a version away, the file first without which it is not loaded."""
    bucket.filesystem.pipe_file(_place(bucket, claim), _content(replace(claim, removed=True)))
    folder = f"{bucket.path}/{claim.folder}"
    there = files(bucket, folder)
    for name in sorted(there, key=lambda name: name != list(claim.files)[-1]):
        bucket.filesystem.rm_file(f"{folder}/{name}")


@contextmanager
def _uploaded(
    bucket: ServingBucket, content: Path, digest: str, warmup: Path | None
) -> Iterator[str]:
    """Write the files aside and read them back; what lies aside is gone when the block ends."""
    incoming = f"{bucket.path}/{HIDDEN}/incoming"
    clear_old(bucket, incoming, _LEFT_FOR)
    aside = f"{incoming}/{uuid.uuid4().hex}"
    names = [p.relative_to(content).as_posix() for p in content.rglob("*") if p.is_file()]
    try:
        for name in names:
            upload(bucket, content / name, f"{aside}/{name}")
        arrived = {name: digest_of(bucket, f"{aside}/{name}") for name in names}
        if digest_names(arrived) != digest:
            raise PenstockError(
                f"What arrived of {content} at {bucket.url} differs from the original; push again."
            )
        if warmup is not None and WARMUP not in names:
            upload(bucket, warmup, f"{aside}/{WARMUP}")
        yield aside
    finally:
        for name in files(bucket, aside):
            bucket.filesystem.rm_file(f"{aside}/{name}")


def _sizes(bucket: ServingBucket, aside: str) -> dict[str, int]:
    """Return names and sizes of the content, the file last without which nothing is loaded."""
    there = {name: size for name, size in files(bucket, aside).items() if name != WARMUP}
    return dict(sorted(there.items(), key=lambda item: (item[0] in _LAST, item[0])))


def _numbers(bucket: ServingBucket) -> list[int]:
    """Return the numbers that TensorFlow Serving sees, with whatever lies there."""
    bucket.filesystem.invalidate_cache()
    try:
        found = bucket.filesystem.ls(bucket.path, detail=True)
    except FileNotFoundError:
        return []
    names = [i["name"].rstrip("/").rpartition("/")[2] for i in found if i["type"] == "directory"]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _place(bucket: ServingBucket, claim: Claim) -> str:
    return f"{bucket.path}/{HIDDEN}/versions/{claim.version}.json"


def _content(claim: Claim) -> bytes:
    return (json.dumps(asdict(claim)) + "\n").encode()


def _claim_of(bucket: ServingBucket, name: str, content: bytes) -> Claim:
    try:
        return Claim(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise PenstockError(
            f"{name} at {bucket.url} is not what a pusher wrote ({error}); restore or remove it."
        ) from error
