"""
Reads MLflow's `MLmodel` file. Scalars are resolved by the core schema of YAML 1.2, as the registry resolves them: with
the YAML 1.1 of PyYAML's own loaders, `on` would be a boolean and `2024-06-05` a date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from .constraints import constraint_from
from .json_values import integer, is_json, number_text, parse_json

#: How much of a document may consist of aliases, as the npm package `yaml` counts it.
_MAX_ALIAS_COUNT = 100
_LINEAGE = ("run_id", "model_id", "model_uuid", "mlflow_version", "utc_time_created")
_TAG = "tag:yaml.org,2002:"
_Resolver = tuple[re.Pattern[str], Callable[[str], Any]]
_RESOLVERS: dict[str, list[_Resolver]] = {
    "null": [(re.compile(r"(?:~|[Nn]ull|NULL)?"), lambda text: None)],
    "bool": [(re.compile(r"[Tt]rue|TRUE|[Ff]alse|FALSE"), lambda text: text[0] in "tT")],
    "int": [
        (re.compile(r"0o[0-7]+"), lambda text: integer(str(int(text[2:], 8)))),
        (re.compile(r"[-+]?[0-9]+"), integer),
        (re.compile(r"0x[0-9a-fA-F]+"), lambda text: integer(str(int(text[2:], 16)))),
    ],
    "float": [
        (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.nan|\.NaN|\.NAN"), lambda text: float(text.replace(".", ""))),
        (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+"), float),
        (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)"), float),
    ],
}


@dataclass(frozen=True)
class MlModel:
    flavor: str
    requires: dict[str, Any]
    lineage: dict[str, str]
    signature: Any


def read_mlmodel(text: str) -> MlModel | None:
    """Returns the facts in an MLmodel file; None if it is not one."""
    try:
        model = load_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return None
    flavors = _without_proto(model.get("flavors")) if isinstance(model, dict) else None
    signature = model.get("signature") if isinstance(model, dict) else None
    if flavors is None or not all(isinstance(flavor, dict) for flavor in flavors.values()):
        return None
    if signature is not None and not isinstance(signature, dict):
        return None
    own = [name for name in _in_object_order(flavors) if name != "python_function"]
    python = _constraint(flavors.get("python_function", {}).get("python_version"))
    sklearn = _constraint(flavors.get("sklearn", {}).get("sklearn_version"))
    return MlModel(
        flavor=own[0] if own else "python_function",
        requires={
            **({"python": python} if python else {}),
            **({"packages": {"scikit-learn": sklearn}} if sklearn else {}),
        },
        lineage={name: model[name] for name in _LINEAGE if isinstance(model.get(name), str)},
        signature=_signature(signature),
    )


def _constraint(version: Any) -> str | None:
    return constraint_from(version) if isinstance(version, str) else None


def _signature(signature: Any) -> Any:
    """`inputs`, `outputs` and `params` are JSON in strings inside the YAML."""
    if signature is None:
        return None
    parsed = {name: _json_or_text(value) for name, value in (_without_proto(signature) or {}).items()}
    return parsed if is_json(parsed) else None


def _json_or_text(value: Any) -> Any:
    try:
        return parse_json(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _without_proto(value: Any) -> dict[str, Any] | None:
    return {name: item for name, item in value.items() if name != "__proto__"} if isinstance(value, dict) else None


def _in_object_order(names: Mapping[str, Any]) -> list[str]:
    """Returns names in the order of a JavaScript object: those of array elements come first."""
    indexes = [name for name in names if re.fullmatch(r"0|[1-9][0-9]{0,9}", name) and int(name) < 2**32 - 1]
    return sorted(indexes, key=int) + [name for name in names if name not in indexes]


@dataclass(eq=False)
class _Node:
    """A scalar, a sequence of nodes, a mapping of node pairs or an alias of a node."""

    value: Any = None
    items: list[_Node] | None = None
    pairs: list[tuple[_Node, _Node]] | None = None
    alias: _Node | None = None
    anchored: bool = False


@dataclass
class _Anchor:
    value: Any
    count: int = 1
    alias_count: int = 0


@dataclass
class _Document:
    anchors: dict[_Node, _Anchor] = field(default_factory=dict)

    def value_of(self, node: _Node) -> Any:
        if node.alias is not None:
            return self._value_of_alias(node.alias)
        value: Any = node.value if node.items is None else []
        value = value if node.pairs is None else {}
        if node.anchored:
            self.anchors[node] = _Anchor(value)
        for item in node.items or ():
            value.append(self.value_of(item))
        for key, item in node.pairs or ():
            value[_key_text(self.value_of(key))] = self.value_of(item)
        return value

    def _value_of_alias(self, source: _Node) -> Any:
        anchor = self.anchors[source]
        anchor.count += 1
        if anchor.alias_count == 0:
            anchor.alias_count = self._alias_count(source)
        if anchor.count * anchor.alias_count > _MAX_ALIAS_COUNT:
            raise ValueError("too many aliases")
        return anchor.value

    def _alias_count(self, node: _Node) -> int:
        if node.alias is not None:
            anchor = self.anchors.get(node.alias)
            return anchor.count * anchor.alias_count if anchor else 0
        if node.items is None and node.pairs is None:
            return 1
        children = [*(node.items or ()), *(part for pair in node.pairs or () for part in pair)]
        return max((self._alias_count(child) for child in children), default=0)


def load_yaml(text: str) -> Any:
    """Loads one YAML document with the core schema. Raises ValueError, RecursionError or a YAMLError."""
    # PyYAML omits the last line break of a block scalar at the end of a file without one.
    events = iter(yaml.parse(text if text.endswith("\n") else f"{text}\n", Loader=yaml.SafeLoader))
    root: _Node | None = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if root:
                raise ValueError("more than one document")
            root = _compose(next(events), events, {})
    return None if root is None else _Document().value_of(root)


def _compose(event: yaml.Event, events: Iterator[yaml.Event], anchors: dict[str, _Node]) -> _Node:
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            raise ValueError(f"undefined alias {event.anchor}")
        return _Node(alias=anchors[event.anchor])
    anchor: str | None = getattr(event, "anchor", None)
    node = _Node(anchored=anchor is not None)
    if anchor is not None:
        anchors[anchor] = node
    if isinstance(event, yaml.ScalarEvent):
        node.value = _resolve(event)
    elif isinstance(event, yaml.SequenceStartEvent):
        node.items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            node.items.append(_compose(event, events, anchors))
    else:
        node.pairs = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = _compose(event, events, anchors)
            node.pairs.append((key, _compose(next(events), events, anchors)))
    return node


def _resolve(event: yaml.ScalarEvent) -> Any:
    # A character beyond U+FFFF may be written as two escapes.
    text = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if event.tag is None:
        names = list(_RESOLVERS) if event.implicit[0] else []
    else:
        names = [event.tag.removeprefix(_TAG)] if event.tag.startswith(_TAG) else []
    resolvers = [resolver for name in names for resolver in _RESOLVERS.get(name, ())]
    return next((resolve(text) for pattern, resolve in resolvers if pattern.fullmatch(text)), text)


def _key_text(key: Any) -> str:
    if isinstance(key, (dict, list)):
        raise ValueError("a key must be a scalar")
    if key is None:
        return ""
    if isinstance(key, bool):
        return "true" if key else "false"
    return number_text(key) if isinstance(key, (int, float)) else key
