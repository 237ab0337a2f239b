"""Makes frozen dataclasses from JSON, and checks it. Knows only the types that ours use."""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def decode(kind: type[T], value: object, where: str = "") -> T:
    """A `kind` from `value`, which `json` has parsed.

    A float may be written as a whole number. Fields that `kind` does not have are ignored, and
    fields with a default may be missing.

    Raises:
        ValueError: something does not fit; the error names the place.
    """
    return cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin = get_origin(kind)
    if origin in _GENERIC:
        return _GENERIC[origin](get_args(kind), value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where or 'document'}: expected {kind.__name__}, got {_name(value)}")
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    hints = get_type_hints(kind)
    missing = [f.name for f in fields(kind) if f.name not in value and not _has_default(f)]
    if missing:
        raise ValueError(f"{where or 'document'}: '{missing[0]}' is missing")
    prefix = f"{where}." if where else ""
    names = [f.name for f in fields(kind) if f.name in value]
    return kind(**{name: _decode(hints[name], value[name], prefix + name) for name in names})


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    (kind,) = (k for k in kinds if k is not NoneType)
    return _decode(kind, value, where)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    _expect(list, value, where)
    return tuple(_decode(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))


def _dict(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    _expect(dict, value, where)
    return {key: _decode(kinds[1], item, f"{where}.{key}") for key, item in value.items()}


_GENERIC: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    UnionType: _union,
    tuple: _tuple,
    dict: _dict,
}


def _expect(kind: type, value: object, where: str) -> None:
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a list"
        raise ValueError(f"{where or 'document'}: expected {wanted}, got {_name(value)}")


def _name(value: object) -> str:
    return "null" if value is None else type(value).__name__
