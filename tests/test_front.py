"""The names that `import pix2spec` gives."""

import gc
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import pix2spec

OF_EXTRAS = {("pix2spec.models.redshift.rail", name) for name in ("qp", "ceci", "rail")}
VERBS = (
    "load",
    "generate_catalogue",
    "open_catalogue",
    "measure_ensemble",
    "train",
    "evaluate",
    "simulate",
    "rank",
)


def test_verbs_stay_functions_when_every_module_has_been_imported():
    for module in pkgutil.walk_packages(pix2spec.__path__, "pix2spec."):
        if module.name == "pix2spec.__main__":
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # the stages of RAIL are subclasses of its own
            assert (module.name, error.name) in OF_EXTRAS, error
    assert all(inspect.isfunction(getattr(pix2spec, verb)) for verb in VERBS)
    assert set(VERBS) < set(pix2spec.__all__) == {*dir(pix2spec)}


@pytest.mark.parametrize("module", ["pix2spec", "pix2spec.apps.cli.main"])
def test_importing_the_package_or_its_commands_loads_none_of_the_large_libraries(module):
    program = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "astropy", "numpy", "pyarrow", "scipy"} & set(loaded.stdout.split())


def test_generating_a_catalogue_loads_no_library_that_it_does_not_use():
    program = "import pix2spec, sys; pix2spec.generate_catalogue; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    absent = {"scipy.interpolate", "scipy.stats", "scipy.optimize", "astropy", "matplotlib", "pandas", "ray"}
    assert not absent & set(loaded.stdout.split())


def test_a_filter_is_read_without_the_tables_of_astropy():
    program = "import sys; from pix2spec.core.filters import load_filter; load_filter('sdss2010-r')"
    program += "; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"astropy.table", "speclite.filters"} & set(loaded.stdout.split())


def test_the_garbage_collector_is_on_after_an_import():
    assert pix2spec.load and gc.isenabled()
    gc.disable()
    try:
        assert pix2spec.load and not gc.isenabled()  # as the user left it
    finally:
        gc.enable()


def test_no_module_at_the_root_has_the_name_of_a_verb():
    modules = {module.name for module in pkgutil.iter_modules(pix2spec.__path__)}
    assert not modules & set(VERBS)


def test_daily_work_needs_no_deep_import(tmp_path):
    """From a survey to a ranked list and a fitted method, as the README has it."""
    pix2spec.simulate(tmp_path / "galaxies", 4, seed=8, progress=False)
    model = pix2spec.load("default", device="cpu")
    settings = pix2spec.Settings(n=3, steps=4)
    summary = pix2spec.generate_catalogue(
        model, tmp_path / "galaxies", tmp_path / "predictions", settings, progress=False
    )
    assert summary.n_ok == 4
    catalogue = pix2spec.open_catalogue(tmp_path / "predictions")
    assert isinstance(catalogue, pix2spec.Catalogue) and [len(ensemble) for ensemble in catalogue] == [3] * 4
    result = pix2spec.evaluate(tmp_path / "predictions", tmp_path / "galaxies", quick=True, progress=False)
    assert result["counts"]["scored"] == 4
    ranking = pix2spec.rank(tmp_path / "predictions", "z < 10", workers=1, progress=False)
    assert list(ranking.table["probability"]) == [1.0] * 4
    settings = {"task": "mean", "name": "own", "about": "The mean of four."}
    for number, preset in enumerate(("mean-spectrum", settings)):
        run = pix2spec.train(preset, tmp_path / "galaxies", tmp_path / f"mean-{number}", progress=False)
        assert isinstance(pix2spec.load(run), pix2spec.Generator)
