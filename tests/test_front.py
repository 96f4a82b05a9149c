"""The names that `import pix2spec` gives."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pix2spec

VERBS = ("load", "generate_catalogue", "open_catalogue", "train", "evaluate", "simulate", "rank")


def test_verbs_stay_functions_when_every_module_has_been_imported():
    for module in pkgutil.walk_packages(pix2spec.__path__, "pix2spec."):
        if module.name != "pix2spec.__main__":
            importlib.import_module(module.name)
    assert all(inspect.isfunction(getattr(pix2spec, verb)) for verb in VERBS)
    assert set(VERBS) < set(pix2spec.__all__) == {*dir(pix2spec)}


def test_importing_the_package_loads_none_of_the_large_libraries():
    program = "import pix2spec, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "astropy", "numpy", "pyarrow"} & set(loaded.stdout.split())


def test_no_module_at_the_root_has_the_name_of_a_verb():
    modules = {module.name for module in pkgutil.iter_modules(pix2spec.__path__)}
    assert not modules & set(VERBS)
