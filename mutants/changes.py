"""Plausible wrong changes to a Python module.

mutmut 3 and cosmic-ray change a package within one process of pytest. Here most of the tested code runs in processes of its own,
with an extension in the package. So a change is made to the text of a copy, which all processes import.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Change:
    """One change of a file."""

    file: str
    """In the package."""
    line: int
    name: str
    """Where it is and what it does, without the line, so that it stays what it is when lines move."""
    text: str
    """Of the whole file, changed."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name}"


def changes(file: str, text: str) -> list[Change]:
    """All changes of a module, in the order of its text."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def place(line: int, column: int) -> int:
        return starts[line - 1] + column

    found, seen = [], Counter[str]()
    source = text.encode()
    for where, node, new in sorted(_all(ast.parse(text), ""), key=lambda found: (found[1].lineno, found[1].col_offset)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        old = " ".join(source[begin:end].decode().split())
        name = f"{where}: {old} -> {new}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" ({seen[name]})"
        changed = source[:begin] + (new if isinstance(node, ast.stmt) else f"({new})").encode() + source[end:]
        found.append(Change(file, node.lineno, name, changed.decode()))
    return found


def _all(tree: ast.AST, where: str) -> Iterator[tuple[str, ast.stmt | ast.expr, str]]:
    """Where a node is, the node, and what is to stand for it."""
    for node in ast.iter_child_nodes(tree):
        inside = where
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = f"{where}.{node.name}".lstrip(".")
            _leave_out_what_types_say(node)
        if isinstance(node, ast.AnnAssign) and not any(
            isinstance(part, ast.Call) for part in ast.walk(node.annotation)
        ):
            node.annotation = ast.Constant(None)  # but for what checks the value
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.stmt):
            yield from ((inside, node, new) for new in _statement(node))
            for condition in _conditions(node):
                yield inside, condition, "True"
                yield inside, condition, "False"
        if isinstance(node, ast.expr):
            yield from ((inside, node, new) for new in _expression(node))
        if isinstance(node, ast.JoinedStr):
            continue  # what is within has no place of its own before Python 3.12
        yield from _all(node, inside)


def _leave_out_what_types_say(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
    node.decorator_list = []
    if not isinstance(node, ast.ClassDef):
        node.returns = None
        for argument in (
            *node.args.posonlyargs,
            *node.args.args,
            *node.args.kwonlyargs,
            node.args.vararg,
            node.args.kwarg,
        ):
            if argument is not None:
                argument.annotation = None


def _conditions(node: ast.stmt) -> list[ast.expr]:
    match node:
        case ast.If(test) | ast.While(test) if not isinstance(test, ast.Constant):
            return [test]
        case _:
            return []


def _statement(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Expr(ast.Call(ast.Attribute(attr="debug" | "info" | "warning" | "error"))):
            yield "pass"
        case ast.Expr(ast.Call() | ast.Await()) | ast.Raise() | ast.AugAssign():
            yield "pass"
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and not value.value):
            yield "return None"
        case ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.Assign([ast.Tuple([ast.Attribute(), *_])]):
            yield "pass"
        case ast.Continue():
            yield "break"
        case ast.Break():
            yield "continue"
        case _:
            pass


def _expression(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.IfExp():
            yield from _logic(node)
        case ast.Constant(bool() as value):
            yield repr(not value)
        case ast.Constant(int() | float() as value):
            yield repr(value * 2 if abs(value) > 1 else value + 1)
        case ast.BinOp(left, operator, right) if type(operator) in _SWAPPED and not (_is_text(left) or _is_text(right)):
            yield ast.unparse(ast.BinOp(left, _SWAPPED[type(operator)](), right))
        case ast.Call(ast.Name(name), arguments, keywords) if name in _CALLS:
            yield ast.unparse(ast.Call(ast.Name(_CALLS[name]), arguments, keywords))
        case ast.Call(function, arguments, keywords):
            for keyword in keywords:
                if keyword.arg is not None:
                    rest = [other for other in keywords if other is not keyword]
                    yield ast.unparse(ast.Call(function, arguments, rest))
        case _:
            pass


def _logic(node: ast.Compare | ast.BoolOp | ast.UnaryOp | ast.IfExp) -> Iterator[str]:
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in _FLIPPED:
            yield ast.unparse(ast.Compare(left, [_FLIPPED[type(operator)]()], [right]))
        case ast.BoolOp(operator, values):
            yield ast.unparse(ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values))
        case ast.UnaryOp(ast.Not(), operand):
            yield ast.unparse(operand)
        case ast.IfExp(_, body, orelse):
            yield ast.unparse(body)
            yield ast.unparse(orelse)
        case _:
            pass


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))
