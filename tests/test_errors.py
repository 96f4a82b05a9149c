"""The one error that users see."""

import pickle

from pix2spec.errors import InputError


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a.fits", "damaged", "fetch it again")))
    assert str(error) == "a.fits: damaged (fetch it again)" and error.where == "a.fits"
