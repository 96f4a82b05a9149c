"""``python -m pix2spec`` and, for training in several processes, ``torchrun -m pix2spec train ...``."""

from pix2spec.apps.cli.main import main

if __name__ == "__main__":
    main()
