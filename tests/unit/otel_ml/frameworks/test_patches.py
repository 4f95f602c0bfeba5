"""Rules of replacing methods: nobody can tell, and everything comes back."""

from __future__ import annotations

import abc
import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import weakref
from types import ModuleType

import pytest

from otel_ml.frameworks.patches import Patches


def loud(original, instance, args, kwargs):
    return ("seen", original(instance, *args, **kwargs))


@pytest.fixture
def patches():
    patches = Patches()
    patches.active = True
    yield patches
    patches.restore()


class Base:
    def predict(self, rows, *, raw: bool = False):
        """Predict."""
        return rows

    async def predict_later(self, rows):
        return rows

    @property
    def score(self):
        return 1

    @staticmethod
    def fit():
        return "fitted"


class Child(Base):
    def predict(self, rows, *, raw: bool = False):
        return super().predict(rows)


class Heir(Base):
    pass


def test_a_replaced_method_goes_through_around(patches):
    assert patches.replace(Base, "predict", loud)
    assert Base().predict(3) == ("seen", 3)
    assert Base.predict(Base(), rows=3) == ("seen", 3)


def test_arguments_named_self_reach_the_original(patches):
    patches.replace(Base, "predict", loud)
    assert Base.predict(self=Base(), rows=3) == 3


def test_a_call_without_its_instance_fails_as_before(patches):
    with pytest.raises(TypeError) as before:
        Base.predict()
    patches.replace(Base, "predict", loud)
    with pytest.raises(TypeError) as after:
        Base.predict()
    assert str(after.value) == str(before.value)


def test_only_the_class_that_defines_a_method_is_touched(patches):
    assert not patches.replace(Heir, "predict", loud)
    assert "predict" not in vars(Heir)
    patches.replace(Base, "predict", loud)
    assert Heir().predict(1) == ("seen", 1)
    assert "predict" not in vars(Heir)


def test_super_calls_pass_both_wrappers(patches):
    patches.replace(Base, "predict", loud)
    patches.replace(Child, "predict", loud)
    assert Child().predict(1) == ("seen", ("seen", 1))


def test_the_same_method_is_not_replaced_twice(patches):
    assert patches.replace(Base, "predict", loud)
    assert not patches.replace(Base, "predict", loud)
    assert Base().predict(1) == ("seen", 1)


@pytest.mark.parametrize("name", ["predict_later", "score", "fit", "missing", "__doc__", "__dict__", "__module__"])
def test_what_is_no_plain_method_is_left_alone(patches, name):
    before = vars(Base).get(name)
    assert not patches.replace(Base, name, loud)
    assert vars(Base).get(name) is before


def test_classes_of_c_are_left_alone(patches):
    assert not patches.replace(dict, "get", loud)


def test_signature_name_and_doc_are_the_originals(patches):
    original = vars(Base)["predict"]
    signature = inspect.signature(Base.predict)
    patches.replace(Base, "predict", loud)
    assert inspect.isfunction(Base.predict)
    assert inspect.ismethod(Base().predict)
    assert inspect.signature(Base.predict) == signature
    assert (Base.predict.__name__, Base.predict.__qualname__, Base.predict.__doc__) == (
        "predict",
        "Base.predict",
        "Predict.",
    )
    assert inspect.unwrap(Base.predict) is original
    model = Base()
    assert model.predict == model.predict


def test_restore_puts_back_the_very_objects_in_their_order(patches):
    before = {cls: list(vars(cls).items()) for cls in (Base, Child, Heir)}
    patches.replace(Base, "predict", loud)
    patches.replace(Child, "predict", loud)
    patches.restore()
    for cls, items in before.items():
        after = list(vars(cls).items())
        assert [name for name, _ in after] == [name for name, _ in items]
        assert all(value is original for (_, value), (_, original) in zip(after, items, strict=True))


def test_restore_finds_aliases_and_rebuilt_classes(patches):
    @dataclasses.dataclass
    class Model:
        size: int = 1

        def predict(self):
            return self.size

    original = vars(Model)["predict"]
    patches.replace(Model, "predict", loud)
    rebuilt = dataclasses.dataclass(slots=True)(Model)
    alias = type("Alias", (), {"predict": Model.predict})
    assert not patches.replace(rebuilt, "predict", loud)
    assert not patches.replace(alias, "predict", loud)
    patches.restore()
    assert all(vars(cls)["predict"] is original for cls in (Model, rebuilt, alias))


def test_a_later_patch_of_somebody_else_survives_restore(patches):
    class Model:
        def predict(self):
            return 1

    patches.replace(Model, "predict", loud)
    ours = vars(Model)["predict"]

    @functools.wraps(ours)  # copies our mark along with everything else
    def theirs(self):
        return ("theirs", ours(self))

    Model.predict = theirs
    assert Model().predict() == ("theirs", ("seen", 1))
    patches.restore()
    assert vars(Model)["predict"] is theirs
    assert Model().predict() == ("theirs", 1)


def test_a_bound_method_kept_over_restore_is_the_original_in_all_but_name(patches):
    patches.replace(Base, "predict", loud)
    kept = Base().predict
    patches.restore()
    assert kept(5) == 5


class Foreign:
    """Another tool's wrapper: callable, a descriptor, and no function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        raise AssertionError("called without being bound")

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self.function, instance)


def test_a_callable_that_is_no_function_still_sees_its_instance(patches):
    class Model:
        predict = Foreign(lambda self, rows: (type(self).__name__, rows))

    assert patches.replace(Model, "predict", loud)
    assert Model().predict(1) == ("seen", ("Model", 1))
    patches.restore()
    assert isinstance(vars(Model)["predict"], Foreign)


class Maybe:
    """A conditional method as scikit-learn's available_if makes them."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __get__(self, instance, owner=None):
        if instance is None:
            return self.function
        if not instance.able:
            raise AttributeError("not able")
        return self.function.__get__(instance, owner)


class Conditional:
    def __init__(self, able):
        self.able = able

    @Maybe
    def predict(self, rows):
        return rows


def test_a_conditional_method_stays_conditional(patches):
    original = vars(Conditional)["predict"]
    assert patches.replace(Conditional, "predict", loud)
    able, unable = Conditional(True), Conditional(False)
    assert hasattr(able, "predict")
    assert not hasattr(unable, "predict")
    with pytest.raises(AttributeError, match="not able"):
        _ = unable.predict
    assert able.predict(2) == Conditional.predict(able, 2) == ("seen", 2)
    assert able.predict == able.predict
    assert inspect.signature(able.predict) == inspect.signature(original.function.__get__(able))
    assert inspect.isfunction(Conditional.predict)
    patches.restore()
    assert vars(Conditional)["predict"] is original


def test_functions_are_pickled_by_name_as_before(patches):
    patches.replace(Base, "predict", loud)
    assert pickle.loads(pickle.dumps(Base.predict)) is Base.predict
    assert copy.deepcopy(Base.predict) is Base.predict
    assert pickle.loads(pickle.dumps(Base().predict))(1) == ("seen", 1)


def test_new_classes_are_told_of_until_restore(patches):
    class Root:
        pass

    seen = []
    patches.on_subclass(Root, seen.append)
    first = type("First", (Root,), {})
    second = type("Second", (first,), {})
    patches.restore()
    type("Third", (Root,), {})
    assert seen == [first, second]
    assert "__init_subclass__" not in vars(Root)


def test_an_own_init_subclass_keeps_working_with_its_arguments(patches):
    class Root:
        def __init_subclass__(cls, *, label, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.label = label

    own = vars(Root)["__init_subclass__"]
    seen = []
    patches.on_subclass(Root, seen.append)

    class First(Root, label="one"):
        pass

    assert (First.label, seen) == ("one", [First])
    with pytest.raises(TypeError, match="label"):

        class Second(Root):
            pass

    patches.restore()
    assert vars(Root)["__init_subclass__"] is own


def test_a_later_hook_of_somebody_else_survives_restore(patches):
    class Root:
        pass

    seen = []
    patches.on_subclass(Root, seen.append)
    theirs = classmethod(lambda cls, **kwargs: None)
    Root.__init_subclass__ = theirs
    patches.restore()
    assert vars(Root)["__init_subclass__"] is theirs


def test_abstract_methods_stay_abstract(patches):
    class Root(abc.ABC):
        @abc.abstractmethod
        def predict(self): ...

    patches.replace(Root, "predict", loud)

    class Concrete(Root):
        def predict(self):
            return 1

    assert Concrete().predict() == 1
    with pytest.raises(TypeError, match="abstract"):
        type("Open", (Root,), {})()


def test_a_metaclass_that_guards_assignment_is_not_asked(patches):
    class Closed(type):
        def __setattr__(cls, name, value):
            raise RuntimeError("closed")

    class Model(metaclass=Closed):
        def predict(self):
            return 1

    assert patches.replace(Model, "predict", loud)
    assert Model().predict() == ("seen", 1)


def test_patched_classes_are_not_kept_alive(patches):
    class Model:
        def predict(self):
            return __class__  # a cell that holds the class, as super() makes

    patches.replace(Model, "predict", loud)
    gone = weakref.ref(Model)
    del Model
    gc.collect()
    assert gone() is None


class Server:
    async def infer(self, rows):
        await asyncio.sleep(0)
        return rows


async def loud_later(original, instance, args, kwargs):
    return "seen", await original(instance, *args, **kwargs)


def test_a_coroutine_stays_one_and_goes_through_a_coroutine(patches):
    assert not patches.replace(Server, "infer", loud)
    assert patches.replace(Server, "infer", loud_later)
    assert inspect.iscoroutinefunction(Server.infer)
    assert inspect.signature(Server.infer) == inspect.Signature.from_callable(Server.infer.__wrapped__)
    kept = Server().infer
    assert asyncio.run(kept(3)) == ("seen", 3)
    patches.restore()
    assert asyncio.run(kept(3)) == 3
    assert not hasattr(Server.infer, "__wrapped__")


def test_functions_of_a_module_are_replaced_and_restored(patches):
    module = ModuleType("registry")
    exec("def load(uri, *, dst=None): return uri\nasync def fetch(uri): return uri\nnumber = 3", vars(module))
    before = dict(vars(module))
    assert patches.replace_function(module, "load", loud)
    assert patches.replace_function(module, "fetch", loud_later)
    assert not any(patches.replace_function(module, name, loud) for name in ("load", "number", "missing"))
    assert module.load("models:/churn@champion", dst=None) == ("seen", "models:/churn@champion")
    assert asyncio.run(module.fetch("x")) == ("seen", "x")
    assert str(inspect.signature(module.load)) == "(uri, *, dst=None)"
    held = module.load
    patches.restore()
    assert dict(vars(module)) == before
    assert held("x") == "x"


def test_a_coroutine_has_the_parameters_of_the_original(patches):
    """uvicorn calls an application without arguments: a TypeError at once says that it is not a factory."""

    class Server:
        async def plain(self, scope, receive, send="s"):
            return scope, receive, send

        async def mixed(self, one, /, two=2, *rest, three, four=4, **others):
            return one, two, rest, three, four, others

        async def keyword(self, *, self_=1):
            return lambda: self_

    async def around(original, instance, args, kwargs):
        return await original(instance, *args, **kwargs)

    before = Server()
    bound = [before.plain, before.mixed]
    expected = [
        asyncio.run(bound[0]("a", receive="b")),
        asyncio.run(bound[1](1, three=3)),
        asyncio.run(bound[1](1, 5, 6, 7, three=3, five=5)),
    ]
    signatures = [inspect.signature(method) for method in bound]
    for name in ("plain", "mixed", "keyword"):
        assert patches.replace(Server, name, around)
    server = Server()
    assert [
        asyncio.run(server.plain("a", receive="b")),
        asyncio.run(server.mixed(1, three=3)),
        asyncio.run(server.mixed(1, 5, 6, 7, three=3, five=5)),
    ] == expected
    assert asyncio.run(server.keyword(self_=3))() == 3
    assert [inspect.signature(method) for method in (server.plain, server.mixed)] == signatures
    for call in (server.plain, server.mixed, lambda: server.plain(1, 2, 3, 4), lambda: server.keyword(1)):
        with pytest.raises(TypeError):
            call()
