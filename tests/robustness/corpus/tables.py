"""Tables: CSV, VOTable and FITS."""

import numpy as np
from astropy.table import Table

from robustness.corpus.fits_cutouts import image
from robustness.corpus.registry import GENERATE_WITH_SPECTRUM, IMPORT_TABLE, bad, put
from support.fake_sdss import cutout

MAGNITUDES = "name,ra,dec,u,g,r,i,z\n"


@bad("CSV", IMPORT_TABLE, "the file is empty")
def empty_csv(folder):
    return put(folder, "targets.csv", "")


@bad("CSV", "table", "the table has no rows")
def csv_of_a_header(folder):
    return put(folder, "targets.csv", MAGNITUDES)


@bad("CSV", "table", "holds fluxes without a unit")
def csv_of_numbers_that_are_no_magnitudes(folder):
    return put(folder, "targets.csv", "name,ra,dec,u,g,r,i\na,1,2,3,4,5,6\n")


@bad("CSV", IMPORT_TABLE, "name a column of magnitudes as --columns, as in r=COLUMN; it has mag_zz")
def csv_with_a_typo(folder):
    return put(folder, "targets.csv", "mag_zz,name\n16,a\n")


@bad("CSV", IMPORT_TABLE, "u is not used: it holds no numbers")
def csv_of_words(folder):
    return put(folder, "targets.csv", MAGNITUDES + "a,1,2,faint,faint,faint,faint,faint\n")


@bad("CSV", "table", "no column is known as a magnitude or flux")
def csv_of_random_bytes(folder):
    return put(folder, "targets.csv", np.random.default_rng(0).bytes(3000))


@bad("CSV", "table", "its encoding is neither UTF-8 nor Latin-1")
def csv_in_utf16_without_its_mark(folder):
    return put(folder, "targets.csv", (MAGNITUDES + "a,1,2,20,19,18,17,16\n").encode("utf-16-le"))


@bad("CSV", IMPORT_TABLE, "no rows")
def csv_with_one_endless_cell(folder):
    return put(folder, "targets.csv", MAGNITUDES + '"' + "a" * 2_000_000)


@bad("CSV", "table", "its column 'r' comes more than once")
def csv_with_a_column_twice(folder):
    return put(folder, "targets.csv", "name,ra,dec,u,g,r,i,z,r\na,1,2,20,19,18,17,16,15\n")


@bad("CSV", "generate {path} --out {out}", "nothing is fetched unasked")
def positions_handed_to_generate(folder):
    return put(folder, "targets.csv", "name,ra,dec\na,1,2\n")


@bad("CSV", "columns {path}", "whose curves speclite does not have")
def magnitudes_in_filters_without_curves(folder):
    return put(folder, "targets.csv", "ID,MAG_GAAP_u,MAG_GAAP_r\na,20,19\n")


@bad("CSV", "generate {path} --survey sdss --out {out}", "neither ra and dec in degrees nor names")
def targets_without_place_or_name(folder):
    return put(folder, "targets.csv", "u,g\n1,2\n")


@bad("CSV", "generate {path} --survey sdss --out {out} --mirror http://127.0.0.1:9", "is not on the sky")
def targets_off_the_sky(folder):
    return put(folder, "targets.csv", "ra,dec\n400,95\n-3,10\n")


@bad("VOTable", "table", "cannot be read as a table")
def votable_cut_off(folder):
    return put(folder, "t.xml", '<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE><TABLE>')


@bad("VOTable", "table", "Unknown datatype")
def votable_of_an_unknown_type(folder):
    field = '<FIELD name="u" datatype="quaternion"/>'
    data = "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA>"
    text = f'<VOTABLE version="1.4"><RESOURCE><TABLE>{field}{data}</TABLE></RESOURCE></VOTABLE>'
    return put(folder, "t.xml", text)


@bad("FITS", "table", "the FITS file holds no table")
def fits_table_that_is_an_image(folder):
    return put(folder, "t.fits", image(cutout()))


@bad("FITS", "table", "truncated")
def fits_table_cut_off(folder):
    Table({f"mag_{b}": np.full(500, 20.0) for b in "ugriz"}).write(folder / "t.fits")
    return put(folder, "t.fits", (folder / "t.fits").read_bytes()[:9000])


@bad("CSV", "curves", "a: its wavelengths do not increase")
def curve_that_runs_backwards(folder):
    return put(folder, "curves.csv", "wavelength,a\n6000,0\n5000,1\n4000,0\n")


@bad("CSV", "curves", "plain numbers mean Angstrom")
def curve_in_nanometres(folder):
    return put(folder, "curves.csv", "wavelength,a\n400,0\n500,1\n600,0\n")


@bad("CSV", "curves", "templates end at 5.5 um")
def curve_in_the_far_infrared(folder):
    return put(folder, "curves.csv", "wavelength,a\n4e5,0\n5e5,1\n6e5,0\n")


@bad("CSV", "observed", "is it in erg/s/cm2/Angstrom, in Jy, or relative")
def spectrum_without_a_unit(folder):
    return put(folder, "spectrum.csv", "wavelength,flux,error\n4000,1,1\n4010,1,1\n4020,1,1\n")


@bad("CSV", "observed", "no columns wavelength and flux")
def spectrum_without_wavelengths(folder):
    return put(folder, "spectrum.csv", "flux,error\n1,1\n")


@bad("CSV", GENERATE_WITH_SPECTRUM, "a relative spectrum needs photometry")
def relative_spectrum_alone(folder):
    return put(folder, "spectrum.csv", "wavelength,flux,error\n4000,1,1\n4010,1,1\n4020,1,1\n")
