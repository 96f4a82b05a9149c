import pytest

from pix2spec.models.storage import save_model
from support.tiny import tiny_spectrum_model


@pytest.fixture(scope="package")
def model_with_flows():
    """A tiny model whose flows move candidates at random."""
    return tiny_spectrum_model(flows=0.1)


@pytest.fixture(scope="package")
def folder_with_flows(model_with_flows, tmp_path_factory):
    """Its folder."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_model(folder, model_with_flows, {"trained_on": "nothing"})
    return folder
