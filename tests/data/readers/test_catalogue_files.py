"""Tables in documented layouts, as files, against magnitudes converted by astropy."""

import numpy as np
import pytest

from pix2spec.data.readers.catalogue_rows import read_catalogue
from support.layout_files import DEC, RA
from support.layouts import LAYOUTS


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_is_read(name, tmp_path):
    layout = LAYOUTS[name]
    rows = read_catalogue(layout.write(tmp_path), **layout.options)
    galaxies = list(rows.galaxies())
    assert len(galaxies) == 2
    kinds = (layout.kind,) * len(layout.bands) if isinstance(layout.kind, str) else layout.kind
    for k, galaxy in enumerate(galaxies):
        measured = {key: j for j, key in enumerate(zip(galaxy.filters, galaxy.kind))}
        assert set(measured) == {(f, kind) for (f, _), kind in zip(layout.bands, kinds)}
        order = [measured[f, kind] for (f, _), kind in zip(layout.bands, kinds)]
        # Astropy has 3630.8 Jy
        np.testing.assert_allclose(galaxy.photometry[order], layout.fluxes[k], rtol=2e-4)
        if layout.has_errors:
            np.testing.assert_allclose(galaxy.photometry_ivar[order], layout.sigmas[k] ** -2, rtol=1e-3)
        assert layout.has_errors != ("error-assumed" in galaxy.flags)
        assert not {"class-star", "class-qso", "photometry-misfit"} & set(galaxy.flags)
        if layout.z:
            assert galaxy.z == pytest.approx(layout.z[k], abs=1e-6)
        else:
            assert np.isnan(galaxy.z)
        if layout.ids:
            assert galaxy.object_id == layout.ids[k]
        if layout.has_position:
            assert (galaxy.ra, galaxy.dec) == pytest.approx((RA[k], DEC[k]), abs=1e-6)
    assert (rows.is_dereddened, rows.has_extinction) == (
        layout.dust == "dereddened",
        layout.dust == "columns",
    )
