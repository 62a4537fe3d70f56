"""Finds, by their syntax trees, the lines that otalink prints when something goes wrong; nothing is run.

Such a line is a template: what differs from time to time is `…` in it. Where an expression has several outcomes, each
is one. What a helper function says of the reason is a line of its own, since its words stand in many lines. A text of
fewer than two words is none: it has nothing that one could search for.
"""

import ast
import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOLE = "…"
# A constant with more characters, which stands in several lines, is a line of its own, too.
LONG = 60
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Exceptions whose first argument is a line, or the reason in one.
ERRORS = (
    "UserError", "AskError", "FleetError", "BadParameter", "OtaError", "TransferError", "ResumeError", "FtpError",
    "FolderChangedError", "ProtocolError", "ReleaseError", "InstallError", "ValueError", "FilesystemError",
    "AuthenticationFailed",
)  # fmt: skip
# Functions and methods by which lines are told, with the number of the argument that is one; -1: all, one line each.
TOLD = {
    "_fail": 0,
    "wrong": 2,
    "Match": 3,
    "warning": 0,
    "error": 0,
    "warn": 1,
    "fault": 0,
    "_tell_refused": 0,
    "respond": 0,
    "say": -1,
    "_say": -1,
    "message": -1,
    "_message": -1,
    "log": 0,
    "lost": 1,
    "_put": 0,
}
# Where `print` tells them: what runs on a board.
ON_BOARD = ("firmware/", "host/otalink_host/vboard_boot.py")
# Why a connection was closed is told by both ends.
CLOSES = ("host/otalink_host/connection.py", "host/otalink_host/peer.py")
# Lists of lines, by the end of their names.
LISTS = ("notes", "messages", "passed_over", "faults")
# Attributes that keep a line until it is told.
KEPT = ("failure", "damage", "_reason")


@dataclass(frozen=True)
class Line:
    """A template, and where it comes from."""

    text: str
    place: str


@dataclass(frozen=True)
class _Text:
    """What an expression may give, and what is found in the functions that it asks for reasons."""

    variants: tuple[str, ...]
    reasons: tuple[str, ...] = ()


class Sources:
    """Python files by their path in the project; `lines` gives what is found in them."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.modules = {path: _Module(path, text, self) for path, text in texts.items()}
        self.functions: dict[str, list[tuple[_Module, Function]]] = {}
        for module in self.modules.values():
            for name, function in module.functions:
                self.functions.setdefault(f"{Path(module.path).stem}.{name}", []).append((module, function))

    def lines(self) -> list[Line]:
        found = {}
        for module in self.modules.values():
            for line in module.lines():
                found.setdefault(line.text, line)
        return sorted(found.values(), key=lambda line: line.text)


class _Module:
    def __init__(self, path: str, text: str, sources: Sources) -> None:
        self.path = path
        self.sources = sources
        self.tree = ast.parse(text)
        self._every = list(ast.walk(self.tree))
        self.parents = {child: node for node in self._every for child in ast.iter_child_nodes(node)}
        self._kinds: dict[Any, list[Any]] = {}
        self.functions = [(each.name, each) for each in self.nodes(Function)]
        self.constants = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = node.value
        self._asked: set[tuple[Function, str]] = set()

    def nodes(self, kind: Any) -> list[Any]:
        if kind not in self._kinds:
            self._kinds[kind] = [node for node in self._every if isinstance(node, kind)]
        return self._kinds[kind]

    # What tells a line

    def lines(self) -> Iterator[Line]:
        for node in self._every:
            for expression in self._told(node):
                found = self._text(expression)
                for text in (*found.variants, *found.reasons):
                    if is_line(text):
                        yield Line(_tidy(text), f"{self.path}:{expression.lineno}")
        for node, script in self._scripts():
            for text in _texts_of_script(script):
                yield Line(_tidy(text), f"{self.path}:{node.lineno}")
        if self.path.endswith("_errors.py"):
            for value in self.constants.values():
                for text in self._table(value).variants:
                    if is_line(text):
                        yield Line(_tidy(text), f"{self.path}:{value.lineno}")

    def _told(self, node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", None) in KEPT:
            yield node.value
        if isinstance(node, ast.AugAssign) and getattr(node.target, "attr", "").endswith(LISTS):
            yield from _elements(node.value)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and self.path.startswith("firmware/"):
            # As (None, why not).
            yield from (each for each in node.value.elts if isinstance(each, ast.Constant))
        if not isinstance(node, ast.Call):
            return
        name = _name_of(node.func)
        if (
            name in ERRORS
            or (name == "print" and self.path.startswith(ON_BOARD))
            or (name in ("close", "abort") and self.path in CLOSES)
            or (name == "append" and self._is_list_of_lines(node.func))
        ):
            yield from node.args[:1]
        elif name == "format_message":
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "text")
        elif name in TOLD and TOLD[name] < 0 and self.path.startswith("firmware/"):
            yield from (argument for argument in node.args if not isinstance(argument, ast.Starred))
        elif TOLD.get(name, -1) >= 0:
            yield from node.args[TOLD[name] : TOLD[name] + 1]

    def _is_list_of_lines(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Attribute):
            return False
        owner = self._enclosing(function)
        return _name_of(function.value).endswith(LISTS) or (owner is not None and owner.name.endswith(LISTS))

    def _scripts(self) -> Iterator[tuple[ast.expr, ast.Module]]:
        # Programs for a board that stand in a text.
        for value in self.constants.values():
            text = self._script(value)
            if "\n" in text:
                with contextlib.suppress(SyntaxError):
                    yield value, ast.parse(text.replace("%d", "0"))

    def _script(self, value: ast.expr) -> str:
        if isinstance(value, ast.JoinedStr):
            return "".join(self._script(each) for each in value.values)
        if isinstance(value, ast.FormattedValue):
            value = self.constants.get(_name_of(value.value), value.value)
        return str(value.value) if isinstance(value, ast.Constant) else "0"

    # What an expression gives

    def _text(self, node: ast.expr, depth: int = 0) -> _Text:
        if depth > 8:
            return _Text((HOLE,))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return _Text((re.sub(r"%[a-z]", HOLE, node.value),))
        if isinstance(node, ast.JoinedStr):
            return _joined([self._part(each, depth) for each in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _joined([self._text(node.left, depth + 1), self._text(node.right, depth + 1)])
        if isinstance(node, ast.IfExp):
            return _either([self._text(node.body, depth + 1), self._text(node.orelse, depth + 1)])
        if isinstance(node, ast.BoolOp):
            return _either([self._text(each, depth + 1) for each in node.values])
        if isinstance(node, ast.Await):
            return self._text(node.value, depth)
        if isinstance(node, ast.Name):
            return self._name(node, depth)
        if isinstance(node, ast.Subscript):
            found = self.constants.get(_name_of(node.value))
            return self._table(found) if found is not None else _Text((HOLE,))
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        return _Text((HOLE,))

    def _part(self, node: ast.expr, depth: int) -> _Text:
        """A part of an f-string: short alternatives stay a hole."""
        if isinstance(node, ast.Constant):
            return self._text(node, depth)
        assert isinstance(node, ast.FormattedValue)
        if node.conversion == ord("r"):
            return _Text((HOLE,))
        found = self._text(node.value, depth + 1)
        said = tuple(text for text in found.variants if is_line(text))
        is_constant = isinstance(node.value, ast.Name) and node.value.id.isupper() and len(found.variants) == 1
        if is_constant and len(found.variants[0]) <= LONG:
            return found
        if not said:
            return _Text((HOLE,), found.reasons)
        if is_constant or isinstance(node.value, ast.Call | ast.Subscript) or len(said) > 3:
            return _Text((HOLE,), (*found.reasons, *said))
        return found

    def _name(self, node: ast.Name, depth: int) -> _Text:
        function = self._enclosing(node)
        while function is not None:
            assigned = [(self, each) for each in _assigned(function, node.id)]
            given = self._given(function, node.id)
            if given is not None and not assigned + given:
                return _Text((HOLE,))
            values = assigned + (given or [])
            if values:
                # A name may be made of itself.
                if (function, node.id) in self._asked:
                    return _Text((HOLE,))
                self._asked.add((function, node.id))
                found = [module._text(value, depth + 1) for module, value in values]
                self._asked.discard((function, node.id))
                if assigned and given is not None:
                    found.append(_Text((HOLE,)))
                return _either(found)
            function = self._enclosing(function)
        return self._constant(node.id)

    def _constant(self, name: str) -> _Text:
        value = self.constants.get(name)
        if value is None:
            for module in self.sources.modules.values():
                if name.isupper() and name in module.constants:
                    value = module.constants[name]
                    break
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return _Text((value.value,))
        return _Text((HOLE,))

    def _given(self, function: Function, name: str) -> "list[tuple[_Module, ast.expr]] | None":
        # What is passed for a parameter: to a function in its module, to a class (or what is derived from it) anywhere.
        # None: it is no parameter.
        names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
        if name not in names:
            return None
        owner = self.parents.get(function)
        called, modules, place = {function.name}, [self], names.index(name)
        if isinstance(owner, ast.ClassDef):
            place -= 1
            if function.name == "__init__":
                modules = list(self.sources.modules.values())
                called = {owner.name} if owner.name[0] != "_" else set()
        calls = []
        for module in modules:
            heirs = {
                node.name
                for node in module.nodes(ast.ClassDef)
                if owner in self.tree.body and called & {_name_of(base) for base in node.bases}
            }
            calls += [
                (module, node.args[place])
                for node in module.nodes(ast.Call)
                if _name_of(node.func) in called | heirs and 0 <= place < len(node.args)
            ]
        return calls

    def _call(self, node: ast.Call, depth: int) -> _Text:
        name = _name_of(node.func)
        if name == "encode" and isinstance(node.func, ast.Attribute):
            return self._text(node.func.value, depth + 1)
        if name == "format" and isinstance(node.func, ast.Attribute):
            found = self._text(node.func.value, depth + 1)
            return _Text(tuple(re.sub(r"{[^}]*}", HOLE, text) for text in found.variants), found.reasons)
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if name in ("call", "run") and texts:
            candidates = self.sources.functions.get(texts[0].split(" ")[-1], [])
        elif name == "_call" and len(texts) > 1:
            candidates = self.sources.functions.get(f"{texts[0]}.{texts[1]}", [])
        else:
            candidates = [(self, function) for found, function in self.functions if found == name]
            candidates = (
                candidates
                or [
                    each for key, found in self.sources.functions.items() if key.split(".")[1] == name for each in found
                ][: 1 if name.startswith("_") else 0]
            )
        found = [
            module._text(each.value, depth + 1)
            for module, function in candidates
            for each in _own(function, ast.Return)
            if each.value is not None
        ]
        return _either(found) if found else _Text((HOLE,))

    def _table(self, node: ast.expr) -> _Text:
        if isinstance(node, ast.Dict):
            return _either([self._table(each) for each in node.values])
        if isinstance(node, ast.Tuple):
            return _either([self._table(each) for each in node.elts])
        found = self._text(node)
        return _Text(tuple(re.sub(r"{[^}]*}", HOLE, text) for text in found.variants))

    def _enclosing(self, node: ast.AST) -> Function | None:
        above = self.parents.get(node)
        while above is not None and not isinstance(above, Function):
            above = self.parents.get(above)
        return above


def is_line(text: str) -> bool:
    """True when `text` has two words or more."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1


def _tidy(text: str) -> str:
    return re.sub(f"{HOLE}+", HOLE, text).strip()


def _joined(parts: list[_Text]) -> _Text:
    variants = tuple("".join(each) for each in itertools.product(*(part.variants for part in parts)))
    return _Text(variants, tuple(text for part in parts for text in part.reasons))


def _either(found: list[_Text]) -> _Text:
    variants = dict.fromkeys(text for each in found for text in each.variants)
    return _Text(tuple(variants), tuple(text for each in found for text in each.reasons))


def _elements(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.List | ast.Tuple):
        return node.elts
    return [node.elt] if isinstance(node, ast.ListComp) else []


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _own(function: Function, kind: type) -> Iterator:
    """The nodes of this kind in a function, but not those of the functions in it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, kind):
            yield node
        if not isinstance(node, (Function, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)


def _assigned(function: Function, name: str) -> Iterator[ast.expr]:
    """What is assigned to `name` in a function, also by a loop over a tuple of tuples."""
    for node in _own(function, ast.AST):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value
                elif isinstance(target, ast.Tuple):
                    yield from _unpacked(target, node.value, name)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
            if isinstance(node.target, ast.Name) and node.target.id == name and node.value is not None:
                yield node.value
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Tuple):
            for each in node.iter.elts:
                yield from _unpacked(node.target, each, name)


def _unpacked(target: ast.Tuple, value: ast.expr, name: str) -> Iterator[ast.expr]:
    values = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    for each in values:
        if isinstance(each, ast.Tuple) and len(each.elts) == len(target.elts):
            for to, given in zip(target.elts, each.elts, strict=True):
                if isinstance(to, ast.Name) and to.id == name:
                    yield given


def _texts_of_script(script: ast.Module) -> Iterator[str]:
    """A script tells the host by what it prints and returns: every text of three words counts."""
    inner = {child for node in ast.walk(script) if isinstance(node, ast.JoinedStr) for child in ast.walk(node)}
    for node in ast.walk(script):
        text = node.value if isinstance(node, ast.Constant) and node not in inner else None
        if isinstance(text, str) and is_line(text) and len(text.split()) > 2:
            yield text
