"""Replaces methods of classes and functions of modules without visible traces, and restores every one.

A class then holds a plain function (or a descriptor in place of a descriptor), so ``inspect``, metadata routing and
``super()`` see no difference. Nothing is added to instances, and a function that is pickled by value, as cloudpickle
does with classes of ``__main__``, travels as the original: the reader does not need otel_ml.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias, cast
from weakref import WeakSet

Around: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""``around(original, instance, args, kwargs)`` runs in place of a method and returns what the method would.

In place of a coroutine method it is a coroutine function. For a function of a module, ``instance`` is the module.
"""

Passes: TypeAlias = Callable[[], bool]
"""Whether a call goes to the original at once. It is asked first, so it must be quick; the third frame above its own is
that of the caller."""

_SEAM = "__otel_ml_seam__"


def none_passes() -> bool:
    """Let no call pass: the default."""
    return False


class _Seam:
    """The point where a call enters our code, as long as the patches are active."""

    __slots__ = ("around", "call", "face", "home", "original", "passes")

    def __init__(self, home: Patches, original: Any, around: Around, passes: Passes) -> None:
        self.home = home
        self.passes = passes
        self.original = original
        self.around = around
        self.face: Any = None
        # a callable that is not a function (another tool's wrapper) must get its instance as it would unpatched
        self.call = original if isinstance(original, FunctionType) else functools.partial(_call_bound, original)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not args or self.passes() or not self.home.active:
            return self.call(*args, **kwargs)
        return self.around(self.call, args[0], args[1:], kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # itemgetter(0)((original,)) is the original, and needs nothing of ours where it is unpickled
        return operator.itemgetter(0), ((self.original,),)


class _FunctionSeam(_Seam):
    """The point where a call of a module's function enters our code."""

    __slots__ = ("module",)

    def __init__(self, home: Patches, original: Any, around: Around, module: ModuleType) -> None:
        super().__init__(home, original, around, none_passes)
        self.module = module

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not self.home.active:
            return self.original(*args, **kwargs)
        return self.around(self.without_module, self.module, args, kwargs)

    def without_module(self, module: ModuleType, /, *args: Any, **kwargs: Any) -> Any:
        """Call the original; ``around`` passes what it got as the instance."""
        return self.original(*args, **kwargs)


def _call_bound(original: Any, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
    return original.__get__(instance, type(instance))(*args, **kwargs)


def _patched_function(seam: _Seam) -> FunctionType:
    @functools.wraps(seam.original)
    def method(*args: Any, **kwargs: Any) -> Any:
        return seam(*args, **kwargs)

    _mark(method, seam)
    return cast(FunctionType, method)


def _patched_coroutine(seam: _Seam) -> FunctionType:
    method = _same_parameters(seam)
    functools.update_wrapper(method, seam.original)
    _mark(method, seam)
    return method


def _same_parameters(seam: _Seam) -> FunctionType:
    """Return a coroutine function with the parameters of the original.

    With others, wrong arguments would fail when the coroutine is awaited, not when it is made: uvicorn calls an
    application without arguments to see whether it is a factory.
    """
    original: FunctionType = seam.original
    code = original.__code__
    plain, keyword = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    parameters, passed = list(names[:plain]), list(names[:plain])
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    further = plain + keyword
    if code.co_flags & inspect.CO_VARARGS:
        parameters.append(f"*{names[further]}")
        passed.append(f"*{names[further]}")
        further += 1
    elif keyword:
        parameters.append("*")
    parameters += names[plain : plain + keyword]
    passed += [f"{name}={name}" for name in names[plain : plain + keyword]]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        parameters.append(f"**{names[further]}")
        passed.append(f"**{names[further]}")
    source = f"async def method({', '.join(parameters)}): return await {_SEAM}({', '.join(passed)})"
    namespace: dict[str, Any] = {_SEAM: seam}
    exec(compile(source, __file__, "exec"), namespace)  # noqa: S102 - of names of parameters alone
    method: FunctionType = namespace["method"]
    method.__defaults__, method.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return method


def _mark(face: Any, seam: _Seam) -> None:
    # the seam knows its face: functools.wraps, used by other code, copies the mark to functions that are not ours
    seam.face = face
    setattr(face, _SEAM, seam)


class _PatchedDescriptor:
    """Stands in for a descriptor that makes methods on access, such as scikit-learn's ``available_if``.

    The original decides whether the attribute exists and raises its own errors; only the method that it returns is
    wrapped.
    """

    def __init__(self, home: Patches, original: Any, around: Around, passes: Passes) -> None:
        functools.update_wrapper(cast(Any, self), original)
        self._home = home
        self._passes = passes
        self._around = around
        self._original = original
        self._methods: dict[int, FunctionType] = {}
        _mark(self, _Seam(home, original, around, passes))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound: Any = self._original.__get__(instance, owner)
        if instance is None:
            return self._wrapped(bound) if isinstance(bound, FunctionType) else bound
        if not isinstance(bound, MethodType) or bound.__self__ is not instance:
            return bound
        function = bound.__func__
        method = self._methods.get(id(function))
        if method is None:
            method = self._wrapped(function)
            # a descriptor may make a new function on every access, which is never looked up again: keep only the last
            self._methods = {id(function): method}
        return MethodType(method, instance)

    def _wrapped(self, function: Callable[..., Any]) -> FunctionType:
        return _patched_function(_Seam(self._home, function, self._around, self._passes))

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.itemgetter(0), ((self._original,),)


class Patches:
    """All methods that one instrumentor replaced.

    Calls pass through ``around`` only while ``active``; a replaced method that code still holds later (a bound method,
    an alias) then behaves like the original. Classes are referenced weakly.

    >>> class Model:
    ...     def predict(self, x):
    ...         return x
    >>> before = vars(Model)["predict"]
    >>> patches = Patches()
    >>> patches.active = True
    >>> patches.replace(Model, "predict", lambda original, instance, args, kwargs: original(instance, *args) + 1)
    True
    >>> Model().predict(1)
    2
    >>> patches.restore()
    >>> vars(Model)["predict"] is before
    True
    """

    def __init__(self) -> None:
        self.active = False
        self._classes: WeakSet[type] = WeakSet()
        self._modules: WeakSet[ModuleType] = WeakSet()
        self._hooks: list[tuple[type, Any, Any]] = []
        self._lock = threading.RLock()

    def replace(self, cls: type, name: str, around: Around, passes: Passes = none_passes) -> bool:
        """Replace the method that ``cls`` itself defines; false if it defines none or it is replaced already.

        A call that ``passes`` does not reach ``around``. A coroutine method needs a coroutine function ``around``.
        Properties, generators, class and static methods are left alone: they are not prediction calls.
        """
        with self._lock:
            current = vars(cls).get(name)
            if current is None:
                return False
            if _is_ours(current, self):  # an alias, or a class rebuilt from another's namespace
                self._classes.add(cls)
                return False
            replacement = self._replacement(current, around, passes)
            if replacement is None:
                return False
            try:
                type.__setattr__(cls, name, replacement)
            except TypeError:  # a C class that cannot be changed
                return False
            self._classes.add(cls)
            return True

    def replace_function(self, module: ModuleType, name: str, around: Around) -> bool:
        """Replace a function of a module; false if there is none or it is replaced already.

        Code that imported the function by its name before keeps the original.
        """
        with self._lock:
            current = vars(module).get(name)
            if not isinstance(current, FunctionType) or _is_ours(current, self):
                return False
            seam = _FunctionSeam(self, current, around, module)
            is_coroutine = inspect.iscoroutinefunction(current)
            setattr(module, name, _patched_coroutine(seam) if is_coroutine else _patched_function(seam))
            self._modules.add(module)
            return True

    def on_subclass(self, base: type, seen: Callable[[type], object]) -> None:
        """Call ``seen`` with every class derived from ``base`` from now on; ``seen`` must not raise."""
        own = vars(base).get("__init_subclass__")

        def init_subclass(cls: type, **kwargs: Any) -> None:
            if own is None:
                super(base, cls).__init_subclass__(**kwargs)
            else:
                own.__get__(None, cls)(**kwargs)
            if self.active:
                seen(cls)

        init_subclass.__name__ = "__init_subclass__"
        hook = classmethod(init_subclass)
        with self._lock:
            type.__setattr__(base, "__init_subclass__", hook)
            self._hooks.append((base, own, hook))

    def on_family(self, base: type, seen: Callable[[type], object]) -> None:
        """Call ``seen`` with a class, every class derived from it, and every one that will be; it must not raise."""
        self.on_subclass(base, seen)
        pending, known = [base], {base}
        while pending:
            cls = pending.pop()
            seen(cls)
            below = [each for each in type.__subclasses__(cls) if each not in known]
            known.update(below)
            pending.extend(below)

    def restore(self) -> None:
        """Restore every original that is not patched by others since, and remove the hooks."""
        self.active = False
        with self._lock:
            for base, own, hook in self._hooks:
                if vars(base).get("__init_subclass__") is not hook:
                    continue  # other code has patched it since and calls our hook, which is idle
                if own is None:
                    type.__delattr__(base, "__init_subclass__")
                else:
                    type.__setattr__(base, "__init_subclass__", own)
            self._hooks.clear()
            for cls in list(self._classes):
                for name, value in list(vars(cls).items()):
                    if _is_ours(value, self):
                        type.__setattr__(cls, name, getattr(value, _SEAM).original)
            self._classes.clear()
            for module in list(self._modules):
                for name, value in list(vars(module).items()):
                    if _is_ours(value, self):
                        setattr(module, name, getattr(value, _SEAM).original)
            self._modules.clear()

    def _replacement(self, current: Any, around: Around, passes: Passes) -> Any:
        if isinstance(current, (classmethod, staticmethod, property, type)):
            return None
        if inspect.isgeneratorfunction(current) or inspect.isasyncgenfunction(current):
            return None
        if inspect.iscoroutinefunction(current):
            seam = _Seam(self, current, around, passes)
            return _patched_coroutine(seam) if inspect.iscoroutinefunction(around) else None
        if callable(current) and hasattr(current, "__get__"):
            return _patched_function(_Seam(self, current, around, passes))
        if hasattr(current, "__get__") and callable(getattr(current, "__wrapped__", None)):
            return _PatchedDescriptor(self, current, around, passes)
        return None


def is_patched(cls: type) -> bool:
    """Return whether any instrumentor has replaced a method of a class, and is active."""
    namespaces = (vars(base).values() for base in cls.__mro__[:-1])
    seams = (getattr(value, "__dict__", {}).get(_SEAM) for values in namespaces for value in list(values))
    return any(isinstance(seam, _Seam) and seam.home.active for seam in seams)


def _is_ours(value: Any, home: Patches) -> bool:
    # read the value's own namespace: getattr on a foreign descriptor could run its code
    seam = getattr(value, "__dict__", {}).get(_SEAM)
    return isinstance(seam, _Seam) and seam.home is home and seam.face is value
