"""Each backend of the registry is whole: its module has what it promises, settings and help name it."""

from __future__ import annotations

import inspect
import re

import pytest

from edge.backends.registry import BACKENDS, BackendModule
from edge.config.edge import EdgeConfig, config_of
from edge.core.errors import ConfigError
from edge.process.packages import install_module

PROMISED = {
    name: list(inspect.signature(function).parameters)[1:]
    for name, function in vars(BackendModule).items()
    if not name.startswith("_")
}


@pytest.mark.parametrize("name", BACKENDS)
def test_the_module_of_a_backend_has_what_every_one_has(name):
    kind = BACKENDS[name]
    try:
        module = kind.load()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    for function, parameters in PROMISED.items():
        assert list(inspect.signature(getattr(module, function)).parameters) == parameters
    assert any(
        getattr(one, "name", None) == name for one in vars(module).values() if inspect.isclass(one)
    ), "its class says its name"


@pytest.mark.parametrize("name", ["auto", *BACKENDS])
def test_settings_permit_every_backend(name):
    assert EdgeConfig.model_validate({"backend": name}).backend == name


def test_settings_name_the_backends_that_they_permit():
    with pytest.raises(ConfigError) as caught:
        config_of({"--backend": {"backend": "tensorflow"}})
    for name in ("auto", *BACKENDS):
        assert re.search(rf"\b{name}\b", str(caught.value))


@pytest.mark.parametrize("name", BACKENDS)
def test_an_extra_or_every_installation_brings_a_backend(name):
    kind = BACKENDS[name]
    assert ("extra" not in install_module(kind.package)) == kind.is_in_every_installation
