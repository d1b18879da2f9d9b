"""Parts that remember how they were made, so that a live codec can write itself as a config."""

import functools
import inspect
from typing import Any, ClassVar, TypeVar

T = TypeVar("T", bound="Configured")


class Configured:
    """Records the arguments of the constructor of any subclass; ``describe`` turns them into plain YAML data.

    A codec made by a config, by a converter or by hand is saved the same way, and no part needs a config object.
    """

    made_by_codec: ClassVar[dict[str, tuple[str, ...]]] = {}
    """For parts given as factories: attribute name -> arguments that the owner supplies (left out of the config)."""

    def __new__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        self = super().__new__(cls)
        try:
            signature = inspect.signature(cls.__init__)
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # copy and pickle call without arguments and restore __dict__; a wrong call fails in __init__
            return self
        bound.apply_defaults()
        # straight into __dict__: torch modules refuse attributes before their own __init__ has run
        named = [name for name, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self.__dict__["_arguments"] = {name: bound.arguments[name] for name in named[1:]}
        return self

    def describe(self, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
        """``{class_path, init_args}``, nested, of plain data only."""
        cls = type(self)
        arguments: dict[str, Any] = {}
        for name, value in self.__dict__["_arguments"].items():
            if name in leave_out:
                continue
            if name in self.made_by_codec and value is not None:
                arguments[name] = getattr(self, name).describe(self.made_by_codec[name])
            else:
                arguments[name] = _plain(value)
        return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments}


@functools.singledispatch
def _plain(value: object) -> Any:
    raise TypeError(f"a constructor argument of type {type(value).__name__} cannot be written to a config")


@_plain.register(Configured)
def _(value: Configured) -> Any:
    return value.describe()


@_plain.register(list)
@_plain.register(tuple)
def _(value: list[object] | tuple[object, ...]) -> Any:
    return [_plain(v) for v in value]


@_plain.register(dict)
def _(value: dict[str, object]) -> Any:
    return {k: _plain(v) for k, v in value.items()}


@_plain.register(bool)
@_plain.register(int)
@_plain.register(float)
@_plain.register(str)
@_plain.register(type(None))
def _(value: object) -> Any:
    return value
