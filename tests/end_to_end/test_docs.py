"""The site: it builds without a warning, what its pages show runs, and what they tell to do can be done."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from support.fake_sdss import write_spec
from support.paths import DOCS, ROOT
from support.tiny import write_tiny_dataset


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page in Markdown."""
    (path,) = DOCS.rglob(page)
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


def run(*command, cwd, **environment) -> str:
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_warnings_and_its_doctests_pass(tmp_path):
    pytest.importorskip(
        "myst_nb", reason="the site's packages are not installed: pip install 'pix2spec[docs]'"
    )
    trees = tmp_path / "trees"
    builds = [
        ["-W", "--keep-going", "-q", "-d", str(trees), "-b", builder, str(DOCS), str(tmp_path / builder)]
        for builder in ("html", "doctest")
    ]
    program = f"from sphinx.cmd.build import main; raise SystemExit(any(main(b) for b in {builds!r}))"
    run("-c", program, cwd=tmp_path)

    outcome = (tmp_path / "doctest" / "output.txt").read_text()
    assert int(re.search(r"(\d+) tests?\n", outcome)[1]) > 20, outcome
    pages = {path.stem for path in (tmp_path / "html").rglob("*.html")}
    assert {path.stem for path in DOCS.rglob("*.md")} <= pages
    science = (tmp_path / "html" / "explanation" / "science.html").read_text()
    assert science.count("<math") > 60 and not re.search(r"<m[ion][^>]*>\\", science)
    index = (tmp_path / "html" / "searchindex.js").read_text()
    assert "pix2spec.models.pixel.diffusion" in index and "training_loss" in index
    notebook = (tmp_path / "html" / "tutorials" / "photometry-to-rank.html").read_text()
    assert (
        "expected number" in notebook and notebook.count("data:image/png") + notebook.count("_images/") >= 3
    )


def test_the_notebook_is_committed_as_it_ran():
    cells = json.loads((DOCS / "tutorials" / "photometry-to-rank.ipynb").read_text())["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell.get("outputs", [])]
    assert kinds and "error" not in kinds


def test_links_between_pages_and_pictures_lead_somewhere():
    missing = []
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing


def test_photometry_is_given_as_the_page_says():
    import pix2spec

    names = {"pix2spec": pix2spec}
    for block in blocks("models.md", "python"):
        if "Galaxy(" in block:
            exec(block, names)
    assert names["galaxy"].filters[:3] == ("sdss2010-r", "NB500", "box-4100-100")


@pytest.mark.slow
def test_a_band_is_added_as_the_page_says(tmp_path, monkeypatch):
    """The blocks of the page, one after another, on 80 made-up spectra; the training made short."""
    import pix2spec.training.loop

    monkeypatch.chdir(tmp_path)
    (tmp_path / "spectra").mkdir()
    rng = np.random.default_rng(0)
    lines = ["object_id,u,g,r,i,z,w1"]
    for fibre in range(1, 81):
        name = f"0266-51602-{fibre:04d}"
        facts = {"bestobjid": str(10**18 + fibre), "ra": 146 + fibre / 10}
        write_spec(tmp_path / "spectra" / f"spec-{name}.fits", fiber=fibre, seed=fibre, **facts)
        lines.append(",".join([name, *map(str, rng.normal([20, 18.5, 17.7, 17.2, 16.9, 16.5], 0.2))]))
    (tmp_path / "photometry.csv").write_text("\n".join(lines))
    short = (
        "basis.components=4", "basis.iterations=2", "condition.channels=[8,8,8]", "condition.blocks=1",
        "flow.width=32", "ranker.batch=8", "train.steps=4", "train.batch_size=8", "train.validation_size=4",
    )  # fmt: skip
    load_preset = pix2spec.training.loop.load_preset
    monkeypatch.setattr(pix2spec.training.loop, "load_preset", lambda name: load_preset(name, short))

    names = {}
    for block in blocks("howto-band.md", "python"):
        exec(block, names)
    assert names["report"].n_written == 80 and not names["report"].failures
    model = names["pix2spec"].load("runs/w1")
    assert model.survey.photometry_bands == ("u", "g", "r", "i", "z", "w1")
    w1 = float(lines[1].split(",")[6])
    assert names["galaxy"].photometry[5] == pytest.approx(10 ** (0.4 * (22.5 - w1)))
    assert len(names["ensemble"]) == 25 and np.isfinite(names["ensemble"].flux).all()


@pytest.fixture
def dilated(tmp_path):
    """A folder with what the page on a model of one's own tells to save; its training made short."""
    module, _ = blocks("howto-denoiser.md", "python")
    (preset,) = blocks("howto-denoiser.md", "yaml")
    for long, short in (
        ("steps: 5000", "steps: 4"),
        ("batch_size: 32", "batch_size: 8"),
        ("size: 256", "size: 16"),
    ):
        assert long in preset
        preset = preset.replace(long, short)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "dilated.py").write_text(module)
    (tmp_path / "dilated.yaml").write_text(preset)
    write_tiny_dataset(tmp_path / "train")
    write_tiny_dataset(tmp_path / "test", n=4)
    return tmp_path


@pytest.mark.slow
def test_a_model_of_ones_own_is_registered_as_the_page_says(dilated):
    _, program = blocks("howto-denoiser.md", "python")
    (dilated / "follow.py").write_text(
        program + "print(type(model.model.denoiser).__name__, len(ensemble))\n"
    )
    path = os.pathsep.join([str(dilated / "package"), str(ROOT / "src")])
    out = run("follow.py", cwd=dilated, PYTHONPATH=path)
    assert out.splitlines()[-1] == "DilatedNetwork 10"
    assert "package" not in json.loads((dilated / "runs" / "python" / "config.json").read_text())


@pytest.mark.slow
def test_a_model_of_ones_own_is_installed_as_the_page_says(dilated):
    """The package is built and installed into a folder; the commands of the page find its task."""
    pytest.importorskip("hatchling", reason="the package's build backend is not installed")
    (project,) = blocks("howto-denoiser.md", "toml")
    (dilated / "package" / "pyproject.toml").write_text(project)
    install = (
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        "site",
    )
    run(*install, "./package", cwd=dilated)

    (page,) = DOCS.rglob("howto-denoiser.md")
    commands = re.findall(r"^    pix2spec (.*)$", page.read_text(), re.MULTILINE)
    source = str(ROOT / "src")
    for command in commands:
        if not command.startswith(("data simulate", "evaluate")):  # smaller data are here; and take minutes
            run(
                "-m",
                "pix2spec",
                *command.split(),
                cwd=dilated,
                PYTHONPATH=f"{dilated / 'site'}{os.pathsep}{source}",
            )
    config = json.loads((dilated / "runs" / "dilated" / "config.json").read_text())
    assert config["package"] == "pix2spec-dilated" and config["preset"]["task"] == "dilated"
    assert (dilated / "predictions").is_dir()

    (message,) = blocks("howto-denoiser.md", "text")
    program = "import pix2spec\ntry: pix2spec.load('runs/dilated')\nexcept pix2spec.InputError as e: print(e)"
    assert run("-c", program, cwd=dilated, PYTHONPATH=source) == message
