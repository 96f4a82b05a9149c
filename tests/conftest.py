import os
import sys

from support.paths import SHARED

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks; before torch is imported

import numpy as np
import pytest
from hypothesis import settings

from support.tiny import tiny_factorised_preset, tiny_preset, write_tiny_dataset, write_tiny_survey

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def sdss_galaxies():
    """1,055 real spectra on the default grid, with what SDSS measured on them."""
    path = SHARED / "sdss_galaxies.npz"
    if not path.exists():
        pytest.skip(f"real SDSS spectra are not here ({path})")
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="session", autouse=True)
def _own_dataset_cache(tmp_path_factory):
    """Copies of test datasets go to a temporary folder, not to the user's cache."""
    os.environ["PIX2SPEC_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def tiny_run(tiny_data, tmp_path_factory):
    """Run folder of a denoiser that trained for six steps."""
    from pix2spec.training.loop import train

    return train(tiny_preset("paper-xattn-small"), tiny_data, tmp_path_factory.mktemp("runs") / "xattn")


@pytest.fixture(scope="session")
def tiny_selector(tiny_data, tmp_path_factory):
    """Run folder of a contrastive pair that trained for six steps."""
    from pix2spec.training.loop import train

    return train(
        tiny_preset("paper-contrastive-small"), tiny_data, tmp_path_factory.mktemp("runs") / "select"
    )


@pytest.fixture(scope="session")
def tiny_survey(tmp_path_factory):
    """Dataset of simulated galaxies, with noise-free spectra."""
    return write_tiny_survey(tmp_path_factory.mktemp("tiny") / "survey")


@pytest.fixture(scope="session")
def tiny_factorised_run(tiny_survey, tmp_path_factory):
    """Run folder of a factorised model that trained for six steps."""
    from pix2spec.training.loop import train

    out = tmp_path_factory.mktemp("runs") / "factorised"
    return train(tiny_factorised_preset(), tiny_survey, out, progress=False)


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command line in this process: exit code, stdout, stderr."""
    from pix2spec.apps.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pix2spec", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
