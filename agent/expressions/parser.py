"""Text to a tree of nodes: a tokenizer and a recursive-descent parser, nothing is ever executed.

    condition  := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation   := "not" negation | comparison
    comparison := sum [ ("<" | "<=" | ">" | ">=" | "=" | "==" | "!=" | "<>") sum
                      | ["not"] "in" "(" literal ("," literal)* ")"
                      | ["not"] "between" sum "and" sum
                      | "is" ["not"] "null" ]
    sum        := product (("+" | "-") product)*
    product    := factor (("*" | "/" | "%") factor)*
    factor     := ("-" | "+") factor | literal | name | name "(" [condition ("," condition)*] ")"
                | "(" condition ")"

Words are the same in capitals. A `%` after a number is a percentage unless an operand follows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from agent.expressions.syntax import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    ExpressionError,
    IsNull,
    Logic,
    Membership,
    Negative,
    Node,
    Not,
    Number,
    String,
    Truth,
)
from sensors.units import Duration

LONGEST = 4000
DEEPEST = 50
MOST_OPERATORS = 200
"""Arithmetic and `not`: each makes the tree deeper."""
_WORDS = frozenset(("and", "or", "not", "in", "is", "null", "between", "true", "false"))
_DEEPENING = frozenset(("+", "-", "*", "/", "%", "not"))
_SIGNS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "==", "==": "==", "!=": "!=", "<>": "!="}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<duration>(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|ms|min|s|m|h|d))+(?![A-Za-z0-9_.]))
  | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_0-9.]))
  | (?P<name>[^\W\d]\w*(?:\.\w+)*)
  | (?P<quoted>`[^`]+`)
  | (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<sign><=|>=|==|!=|<>|[-+*/%<>=(),])
)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of the text: its kind (a group of the pattern above, `word` or `end`), text and offset."""

    kind: str
    text: str
    position: int


def tokens(text: str) -> list[Token]:
    """Cut the text; the last token is the `end`.

    Raises:
        ExpressionError: at the first character that begins no token.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression has at most {LONGEST} characters", text[:80] + " ...", 80)
    found: list[Token] = []
    position, length = 0, len(text.rstrip())
    while position < length:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise ExpressionError(_complaint(text[start:]), text, start)
        kind = str(match.lastgroup)
        piece = match[kind]
        if kind == "name" and piece.lower() in _WORDS:
            kind, piece = "word", piece.lower()
        found.append(Token(kind, piece, match.start(str(match.lastgroup))))
        position = match.end()
    found.append(Token("end", "", len(text.rstrip())))
    return found


def _complaint(rest: str) -> str:
    if rest[0] in "'\"`":
        return f"the quote {rest[0]} is never closed"
    if rest[0].isdigit() or rest[0] == ".":
        return f"{re.split(r'[^0-9A-Za-z_.]', rest)[0]!r} is neither a number nor a duration such as 5s or 100ms"
    return f"the character {rest[0]!r} means nothing here"


def parse(text: str, subject: str = "") -> Node:
    """The tree of an expression.

    Args:
        text: what a person wrote.
        subject: column that a comparison without left side is about, so that `> 90` can stand for `mean > 90`;
            empty: a left side is required.

    Raises:
        ExpressionError: at the first place that is wrong.
    """
    parser = _Parser(text, tokens(text), subject)
    node = parser.condition()
    if parser.here.kind != "end":
        parser.fail(f"expected the end or an operator but found {parser.here.text!r}")
    operators = [token for token in parser.tokens if token.text in _DEEPENING and token.kind in ("sign", "word")]
    if len(operators) > MOST_OPERATORS:
        place = operators[MOST_OPERATORS].position
        raise ExpressionError(f"an expression has at most {MOST_OPERATORS} of + - * / % and not", text, place)
    return node


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[Token]
    subject: str
    index: int = 0
    depth: int = 0

    @property
    def here(self) -> Token:
        return self.tokens[self.index]

    def fail(self, reason: str) -> NoReturn:
        raise ExpressionError(reason, self.text, self.here.position)

    def accept(self, *texts: str) -> Token | None:
        token = self.here
        if token.kind in ("sign", "word") and token.text in texts:
            self.index += 1
            return token
        return None

    def expect(self, *texts: str) -> Token:
        token = self.accept(*texts)
        if token is None:
            wanted = " or ".join(repr(text) for text in texts)
            found = repr(self.here.text) if self.here.kind != "end" else "the end"
            self.fail(f"expected {wanted} but found {found}")
        return token

    def condition(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(f"brackets are nested deeper than {DEEPEST}")
        start = self.here.position
        operands = [self.conjunction()]
        while self.accept("or"):
            operands.append(self.conjunction())
        self.depth -= 1
        return operands[0] if len(operands) == 1 else Logic(start, "or", tuple(operands))

    def conjunction(self) -> Node:
        start = self.here.position
        operands = [self.negation()]
        while self.accept("and"):
            operands.append(self.negation())
        return operands[0] if len(operands) == 1 else Logic(start, "and", tuple(operands))

    def negation(self) -> Node:
        signs: list[Token] = []
        while (token := self.accept("not")) is not None:
            signs.append(token)
        node = self.comparison()
        for token in reversed(signs):
            node = Not(token.position, node)
        return node

    def comparison(self) -> Node:
        left = self.left()
        sign = self.accept(*_SIGNS)
        if sign is not None:
            node: Node = Comparison(sign.position, _SIGNS[sign.text], left, self.sum())
            if self.here.kind == "sign" and self.here.text in _SIGNS:
                self.fail("comparisons do not chain; write 'low < x and x < high', or 'x between low and high'")
            return node
        if token := self.accept("is"):
            opposite = self.accept("not") is not None
            self.expect("null")
            node = IsNull(token.position, left)
            return Not(token.position, node) if opposite else node
        negated = self.accept("not")
        if token := self.accept("in"):
            node = Membership(token.position, left, self.choices())
        elif token := self.accept("between"):
            low = self.sum()
            self.expect("and")
            at = token.position
            node = Logic(at, "and", (Comparison(at, ">=", left, low), Comparison(at, "<=", left, self.sum())))
        elif negated:
            self.fail("expected 'in' or 'between' after 'not'")
        else:
            return left
        return Not(negated.position, node) if negated else node

    def left(self) -> Node:
        """The left side; the subject where the text begins with the comparison."""
        token = self.here
        if self.subject and (
            (token.kind == "sign" and token.text in _SIGNS)
            or (token.kind == "word" and token.text in ("in", "is", "between"))
        ):
            return Column(token.position, self.subject)
        return self.sum()

    def choices(self) -> tuple[Number | String, ...]:
        self.expect("(")
        found = [self.literal()]
        while self.accept(","):
            found.append(self.literal())
        self.expect(")")
        if len({type(choice) for choice in found}) > 1:
            raise ExpressionError("the list mixes numbers and strings", self.text, found[0].position)
        return tuple(found)

    def literal(self) -> Number | String:
        minus = self.accept("-")
        node = self.factor()
        if isinstance(node, Number):
            return Number(node.position, -node.value) if minus else node
        if isinstance(node, String) and not minus:
            return node
        raise ExpressionError("a list holds numbers or strings in quotes", self.text, node.position)

    def sum(self) -> Node:
        node = self.product()
        while token := self.accept("+", "-"):
            node = Arithmetic(token.position, token.text, node, self.product())
        return node

    def product(self) -> Node:
        node = self.factor()
        while token := self.accept("*", "/", "%"):
            node = Arithmetic(token.position, token.text, node, self.factor())
        return node

    def factor(self) -> Node:
        token = self.here
        if token.kind == "sign" and token.text in "+-":
            self.index += 1
            self.depth += 1
            if self.depth > DEEPEST:
                self.fail(f"signs and brackets are nested deeper than {DEEPEST}")
            node = self.factor()
            self.depth -= 1
            return Negative(token.position, node) if token.text == "-" else node
        if token.kind == "end":
            self.fail("the expression ends where a value is expected" if self.index else "the expression is empty")
        self.index += 1
        match token.kind:
            case "number":
                return Number(token.position, self.percent(float(token.text)))
            case "duration":
                return Number(token.position, Duration(token.text).seconds)
            case "string":
                quote = token.text[0]
                return String(token.position, token.text[1:-1].replace(quote * 2, quote))
            case "quoted":
                return Column(token.position, token.text[1:-1])
            case "name":
                return self.call(token) if self.accept("(") else Column(token.position, token.text)
            case "word" if token.text in ("true", "false"):
                return Truth(token.position, token.text == "true")
            case "sign" if token.text == "(":
                node = self.condition()
                self.expect(")")
                return node
        self.index -= 1
        self.fail(f"expected a value but found {token.text!r}")

    def call(self, token: Token) -> Node:
        if self.accept("*"):
            self.expect(")")
            return Call(token.position, token.text.lower(), (), star=True)
        if self.accept(")"):
            return Call(token.position, token.text.lower(), ())
        arguments = [self.condition()]
        while self.expect(",", ")").text == ",":
            arguments.append(self.condition())
        return Call(token.position, token.text.lower(), tuple(arguments))

    def percent(self, value: float) -> float:
        """The number, or the percentage if `%` follows and is not the remainder sign."""
        if not (self.here.kind == "sign" and self.here.text == "%"):
            return value
        after = self.tokens[self.index + 1]
        if after.kind in ("number", "duration", "name", "quoted", "string") or after.text == "(":
            return value
        self.index += 1
        return value / 100
