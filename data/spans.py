"""Which files belong to which span: patterns such as `span-{SPAN}/v{VERSION}/*.csv`.

A span is a numbered portion of the data, usually one of time; a version is a later edition of the
same span. The placeholders and their rules are those of TFX's ExampleGen:

- `{SPAN}` stands for digits, `{SPAN:4}` for exactly four of them;
- `{YYYY}`, `{MM}` and `{DD}`, together, stand for a date, whose span is the days since 1970-01-01;
- `{VERSION}` and `{VERSION:3}` likewise, only beside a span or a date.

Besides these, `*` and `?` match within a name and `**` matches any folders.
"""

from __future__ import annotations

import datetime
import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PenstockError
from .remote import hide_password, is_url, remote_matches
from .windows import Window, spans_in

EPOCH = datetime.date(1970, 1, 1)
PLACEHOLDER = re.compile(r"\{(SPAN|VERSION)(?::([^}]*))?\}|\{(YYYY|MM|DD)\}")
DATE_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}


@dataclass(frozen=True)
class SourceFile:
    """A file to read: where it lies, how manifests call it, its span and version, its split.

    A file has a split when all its rows belong to one.

    Attributes:
        path: Where it lies on this machine; of a remote file, where it would.
        name: What the pattern matched.
        span: Its span.
        version: Its version.
        split: The split of all its rows, when there is one.
        shown: Its URL, or what messages call it when not by its path.
        query: What to ask, when `shown` is a database.
        piece_of: The format of the file that this is a piece of, as Parquet.
    """

    path: Path
    name: str
    span: int | None = None
    version: int | None = None
    split: str | None = None
    shown: str = ""
    query: str = ""
    piece_of: str = ""

    @property
    def label(self) -> str:
        """What messages call the file; a database without its password."""
        return hide_password(self.shown) if self.query else self.shown or str(self.path)


def find_files(
    pattern: str,
    folder: str | os.PathLike[str] | None = None,
    first_span: int | None = None,
    last_span: int | None = None,
    window: Window | None = None,
) -> list[SourceFile]:
    """Return the files of the wanted spans, each span's latest version, ordered by span and name.

    Without placeholders in the pattern: every match. With them and no bound: the latest span.
    With bounds: every span from `first_span` to `last_span`, both included; a bound that is None
    is the first or last span there is. With a window: its spans, from `first_span` on.

    Args:
        pattern: Placeholders and wildcards; see the module.
        folder: What the pattern is relative to; the working folder when None.
        first_span: The first span wanted.
        last_span: The last span wanted.
        window: Which of the spans there are.

    Raises:
        PenstockError: The pattern breaks a rule, nothing matches, what stands for a placeholder is
            not a number or a date, a span is spelled in two ways, the range is empty, spans
            within it are missing, or the window holds too few.
    """
    placeholders = _check_pattern(pattern, folder)
    if not placeholders and (window or first_span is not None or last_span is not None):
        raise PenstockError(
            f"The pattern {pattern!r} has no placeholder, so {'window' if window else 'first_span'}"
            f"{' means' if window else ' and last_span mean'} nothing; add {{SPAN}} or {{YYYY}}, "
            "{MM} and {DD} where the span stands."
        )
    if window and last_span is not None:
        raise PenstockError(
            f"Both last_span {last_span} and a window are given; a window ends at the newest span, "
            "so leave last_span out, or skip and exclude spans by the window."
        )
    if first_span is not None and last_span is not None and first_span > last_span:
        raise PenstockError(
            f"first_span {first_span} is after last_span {last_span}; give the earlier one first."
        )
    place = "" if folder is None else f" in {folder}"
    files = _matches(pattern, folder)
    if not files:
        raise PenstockError(
            f"No file matches the pattern {pattern!r}{place}; check the path"
            + (" and what stands for the placeholders." if placeholders else ".")
        )
    if not placeholders:
        return files
    found = sorted({file.span for file in files if file.span is not None})
    if window:
        chosen = spans_in(window, found, first_span)
        return _latest_versions(pattern, [file for file in files if file.span in chosen])
    if first_span is None and last_span is None:
        first_span = last_span = found[-1]
    first = found[0] if first_span is None else first_span
    last = found[-1] if last_span is None else last_span
    _check_range(pattern, found, first, last)
    wanted = [file for file in files if file.span is not None and first <= file.span <= last]
    return _latest_versions(pattern, wanted)


def find_split_files(
    patterns: Mapping[str, str],
    folder: str | os.PathLike[str] | None = None,
    first_span: int | None = None,
    last_span: int | None = None,
    window: Window | None = None,
) -> list[SourceFile]:
    """Return the files of several splits, each with a pattern of its own, ordered by split.

    Raises:
        PenstockError: What `find_files` says of one pattern, or the splits' files are not of the
            same spans and versions.
    """
    files: list[SourceFile] = []
    editions: dict[str, set[tuple[int | None, int | None]]] = {}
    for split, pattern in sorted(patterns.items()):
        found = find_files(pattern, folder, first_span, last_span, window)
        files += [replace(file, split=split) for file in found]
        editions[split] = {(file.span, file.version) for file in found}
        first = next(iter(editions))
        if editions[split] != editions[first]:
            raise PenstockError(
                f"Split {first!r} has {_editions(editions[first])}, split {split!r} has "
                f"{_editions(editions[split])}; give both the same spans and versions."
            )
    return files


def _editions(editions: Iterable[tuple[int | None, int | None]]) -> str:
    shown = [
        "no spans" if span is None else f"span {span}" + (f" version {version}" if version else "")
        for span, version in sorted(editions, key=lambda e: (e[0] or 0, e[1] or 0))
    ]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if shown[5:] else "")


def database(url: str, query: str) -> SourceFile:
    """Return the answer to a query as a source; `$NAME` in the URL is read from the environment.

    Raises:
        PenstockError: The URL is not one.
    """
    if not is_url(url):
        raise PenstockError(
            f"The pattern {url!r} is no database's URL, which query needs; give one of "
            "SQLAlchemy's, such as postgresql://user:$PASSWORD@host/name."
        )
    name = hide_password(url)
    return SourceFile(Path(name), name, shown=os.path.expandvars(url), query=query)


def _check_pattern(pattern: str, folder: str | os.PathLike[str] | None) -> set[str]:
    """Return the names of the placeholders, after checking the rules for them."""
    if not pattern.strip():
        raise PenstockError("The pattern is empty; give the path of the data, such as data/*.csv.")
    if folder is not None and (Path(pattern).is_absolute() or is_url(pattern)):
        raise PenstockError(
            f"The pattern {pattern!r} is absolute although a source is given; make it relative to "
            "the source's folder."
        )
    found = [match[1] or match[3] for match in PLACEHOLDER.finditer(pattern)]
    names = set(found)
    rest = PLACEHOLDER.sub("", pattern)
    dates = names & set(DATE_DIGITS)
    problem = None
    if "{" in rest or "}" in rest:
        problem = (
            "has braces around no placeholder; known are {SPAN}, {VERSION}, {YYYY}, {MM}, {DD}"
        )
    elif "SPAN" in names and dates:
        problem = "mixes {SPAN} with a date; use one or the other"
    elif dates and (dates != set(DATE_DIGITS)):
        problem = "needs all of {YYYY}, {MM} and {DD} for a date"
    elif len(found) != len(names):
        problem = "uses a placeholder twice; use each once"
    elif "VERSION" in names and len(names) == 1:
        problem = "has {VERSION} without a span; add {SPAN} or a date"
    for match in PLACEHOLDER.finditer(pattern):
        if match[2] is not None and not re.fullmatch(r"0*[1-9][0-9]*", match[2]):
            problem = f"gives {match[1]} the width {match[2]!r}; write a whole number above 0"
    if problem:
        raise PenstockError(f"The pattern {pattern!r} {problem}.")
    return names


def _matches(pattern: str, folder: str | os.PathLike[str] | None) -> list[SourceFile]:
    root = os.fspath(folder) if folder is not None else None
    expression = re.compile(_translate(pattern, regex=True), re.DOTALL)
    files = []
    wildcards = _translate(pattern, regex=False)
    if is_url(pattern):
        for name in remote_matches(wildcards):
            if match := expression.fullmatch(name):
                tokens = match.groupdict()
                span, version = _span(name, tokens), _number(name, tokens, "VERSION")
                files.append(SourceFile(Path(name), name, span, version, shown=name))
        return sorted(files, key=lambda f: (f.span or 0, f.name))
    # Unlike Path.glob, this leaves out hidden files, such as those still being written.
    for name in glob.glob(wildcards, root_dir=root, recursive=True):  # noqa: PTH207
        path = Path(root, name) if root is not None else Path(name)
        match = expression.fullmatch(name)
        if match is None or not path.is_file():
            continue
        tokens = match.groupdict()
        files.append(SourceFile(path, name, _span(name, tokens), _number(name, tokens, "VERSION")))
    return sorted(files, key=lambda f: (f.span or 0, f.name))


def _translate(pattern: str, *, regex: bool) -> str:
    """Return the pattern as a regular expression with named groups, or as a glob."""
    parts = []
    end = 0
    for match in re.finditer(PLACEHOLDER.pattern + r"|\*\*/|\*|\?", pattern):
        text = pattern[end : match.start()]
        parts.append(re.escape(text) if regex else glob.escape(text))
        end = match.end()
        name = match[1] or match[3]
        width = int(match[2]) if match[2] else DATE_DIGITS.get(name or "")
        if name is None:
            expressions = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
            parts.append(expressions[match[0]] if regex else match[0])
        elif regex:
            parts.append(f"(?P<{name}>[^/]{{{width}}})" if width else f"(?P<{name}>[^/]*?)")
        else:
            parts.append("?" * width if width else "*")
    text = pattern[end:]
    return "".join([*parts, re.escape(text) if regex else glob.escape(text)])


def _number(name: str, tokens: dict[str, str], placeholder: str) -> int | None:
    token = tokens.get(placeholder)
    if token is None:
        return None
    if not (token.isascii() and token.isdecimal()):
        raise PenstockError(
            f"{name} has {token!r} where the pattern has {{{placeholder}}}, which stands for "
            "digits; rename the file or narrow the pattern."
        )
    return int(token)


def _span(name: str, tokens: dict[str, str]) -> int | None:
    if "YYYY" not in tokens:
        return _number(name, tokens, "SPAN")
    year, month, day = (_number(name, tokens, key) for key in DATE_DIGITS)
    try:
        return (datetime.date(year or 0, month or 0, day or 0) - EPOCH).days
    except ValueError as error:
        raise PenstockError(
            f"{name} has {tokens['YYYY']}-{tokens['MM']}-{tokens['DD']} where the pattern has a "
            "date, which is none; rename the file or narrow the pattern."
        ) from error


def _check_range(pattern: str, found: Iterable[int], first: int, last: int) -> None:
    inside = {span for span in found if first <= span <= last}
    count = last - first + 1 - len(inside)
    if count > 0 or not inside:
        missing = (span for span in range(first, last + 1) if span not in inside)
        shown = [str(span) for _, span in zip(range(5), missing, strict=False)]
        more = f" and {count - 5} more" if count > 5 else ""
        there = _shorten(sorted(found))
        raise PenstockError(
            f"No file matches the pattern {pattern!r} for span {', '.join(shown)}{more} of the "
            f"range {first} to {last}; there is {there}, so give a range without gaps."
        )


def _shorten(spans: list[int]) -> str:
    if len(spans) == 1:
        return f"span {spans[0]}"
    return f"{len(spans)} spans from {spans[0]} to {spans[-1]}"


def _latest_versions(pattern: str, files: list[SourceFile]) -> list[SourceFile]:
    """Return each span's files of its latest version."""
    latest: dict[int | None, int | None] = {}
    for file in files:
        if file.version is not None:
            latest[file.span] = max(file.version, latest.get(file.span) or 0)
    chosen = [file for file in files if file.version == latest.get(file.span)]
    expression = re.compile(_translate(pattern, regex=True), re.DOTALL)
    spelled: dict[tuple[int | None, int | None], tuple[str, ...]] = {}
    for file in chosen:
        match = expression.fullmatch(file.name)
        tokens = match.groups() if match else ()
        if spelled.setdefault((file.span, file.version), tokens) != tokens:
            raise PenstockError(
                f"Span {file.span} is spelled in two ways, one of them {file.name}; keep one "
                f"spelling, or give the width in the pattern {pattern!r}, such as {{SPAN:2}}."
            )
    return chosen
