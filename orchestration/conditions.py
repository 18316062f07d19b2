"""Conditions: the subset of the Common Expression Language that KFP compiles `dsl.If` to.

Grammar (https://github.com/google/cel-spec, langdef.md), lowest precedence first::

    or         = and { "||" and }
    and        = comparison { "&&" comparison }
    comparison = unary [ ("==" | "!=" | "<" | "<=" | ">" | ">=") unary ]
    unary      = "!" unary | "-" number | primary
    primary    = "(" or ")" | literal | function "(" or ")"
               | "inputs" "." "parameter_values" "[" string "]"
    function   = "int" | "double" | "string" | "bool"
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import PenstockError

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<name>[A-Za-z_]\w*)
    | (?P<operator>\|\||&&|==|!=|<=|>=|[<>!()\[\].\-])
    )""",
    re.VERBOSE,
)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}

Evaluate = Callable[[Mapping[str, Any]], Any]


class _Mismatch(Exception):
    """Two values of kinds that CEL does not order, or a function that does not take a value."""


@dataclass(frozen=True)
class Condition:
    """A parsed condition.

    Attributes:
        text: The expression as compiled.
        inputs: Names of the parameters it reads.
    """

    text: str
    inputs: frozenset[str]
    evaluate: Evaluate

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether the condition is true of `parameters`.

        Raises:
            PenstockError: A parameter is missing, kinds that have no order are compared, or the
                result is not a boolean.
        """
        try:
            result = self.evaluate(parameters)
        except KeyError as error:
            raise PenstockError(
                f"The condition {self.text} reads the parameter {error.args[0]}, "
                "which has no value."
            ) from error
        except _Mismatch as error:
            raise PenstockError(
                f"The condition {self.text} cannot be evaluated: {error}."
            ) from error
        if not isinstance(result, bool):
            raise PenstockError(f"The condition {self.text} gives {result!r}, not true or false.")
        return result


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises:
        PenstockError: The text is not CEL, or uses more of CEL than KFP compiles.
    """
    parser = _Parser(text)
    evaluate = parser.either()
    if parser.position < len(parser.tokens):
        raise parser.error()
    return Condition(text, frozenset(parser.inputs), evaluate)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _unreadable(text, position)
        tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return tokens


def _unreadable(text: str, position: int) -> PenstockError:
    near = text[position : position + 20]
    return PenstockError(
        f"the condition {text} is not valid CEL at {near!r}, and Kubeflow would refuse it "
        "too: KFP does not escape a ' inside a compared string and writes conversions of a "
        "parameter into quotes, so pass that string as a pipeline parameter or compare values of "
        "one type"
    )


class _Parser:
    """Recursive descent over the tokens; each method returns a function of the parameters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.position = 0
        self.inputs: set[str] = set()

    def error(self) -> PenstockError:
        at = self.tokens[self.position][2] if self.position < len(self.tokens) else len(self.text)
        return _unreadable(self.text, at)

    def take(self, *wanted: str) -> str | None:
        if self.position < len(self.tokens):
            kind, token, _ = self.tokens[self.position]
            if kind in ("operator", "name") and token in wanted:
                self.position += 1
                return token
        return None

    def need(self, wanted: str) -> None:
        if self.take(wanted) is None:
            raise self.error()

    def either(self) -> Evaluate:
        parts = [self.both()]
        while self.take("||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda values: any(_truth(p(values)) for p in parts)

    def both(self) -> Evaluate:
        parts = [self.comparison()]
        while self.take("&&"):
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else lambda values: all(_truth(p(values)) for p in parts)

    def comparison(self) -> Evaluate:
        left = self.unary()
        operator = self.take("==", "!=", "<=", ">=", "<", ">")
        if operator is None:
            return left
        right = self.unary()
        return lambda values: _compare(operator, left(values), right(values))

    def unary(self) -> Evaluate:
        if self.take("!"):
            operand = self.unary()
            return lambda values: not _truth(operand(values))
        if self.take("-"):
            number = self.literal()
            if number is None or isinstance(number, bool | str):
                raise self.error()
            return lambda _: -number
        return self.primary()

    def primary(self) -> Evaluate:
        if self.take("("):
            inner = self.either()
            self.need(")")
            return inner
        if self.take("inputs"):
            self.need(".")
            self.need("parameter_values")
            self.need("[")
            name = self.literal()
            if not isinstance(name, str):
                raise self.error()
            self.need("]")
            self.inputs.add(name)
            return lambda values: values[name]
        function = self.take(*_FUNCTIONS)
        if function:
            self.need("(")
            argument = self.either()
            self.need(")")
            return lambda values: _FUNCTIONS[function](argument(values))
        if self.take("true"):
            return lambda _: True
        if self.take("false"):
            return lambda _: False
        literal = self.literal()
        if literal is None:
            raise self.error()
        return lambda _: literal

    def literal(self) -> Any:
        if self.position == len(self.tokens):
            return None
        kind, token, _ = self.tokens[self.position]
        if kind not in ("number", "string"):
            return None
        self.position += 1
        if kind == "string":
            return _unquote(token)
        return int(token) if token.isdigit() else float(token)


def _unquote(token: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", character, token[1:-1])


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Mismatch(f"{value!r} is not true or false")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _compare(operator: str, left: Any, right: Any) -> bool:
    same = _kind(left) == _kind(right)
    if operator == "==":
        return bool(same and left == right)
    if operator == "!=":
        return bool(not same or left != right)
    if not same or _kind(left) not in ("number", "str", "bool"):
        raise _Mismatch(f"{left!r} and {right!r} have no order")
    if operator == "<":
        return bool(left < right)
    if operator == "<=":
        return bool(left <= right)
    if operator == ">":
        return bool(left > right)
    return bool(left >= right)


def _to_number(value: Any, kind: Callable[[Any], Any]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Mismatch(f"{value!r} is not a number")
    try:
        return kind(value)
    except (ValueError, OverflowError) as error:
        raise _Mismatch(f"{value!r} is not a number") from error


def _to_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return _truth(value)


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "int": lambda value: _to_number(value, int),
    "double": lambda value: _to_number(value, float),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "bool": _to_bool,
}
