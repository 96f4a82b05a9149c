"""The web page of `pix2spec app`. It needs the extra ``pix2spec[app]``; the science is elsewhere."""
