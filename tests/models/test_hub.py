"""Models to the hub and back, through huggingface_hub, against a hub on the loopback address."""

import json
import shutil
import sys

import pytest

import pix2spec
from pix2spec.apps.cli.main import main
from pix2spec.errors import InputError
from pix2spec.models.publish import export_model, publish_model
from pix2spec.models.shared.hub import fetch_model, is_hub_name, source_of
from support.fake_hub import TOKEN, serve_hub
from support.tiny import tiny_galaxy

# huggingface_hub 2 uploads in a way that its own HTTP library deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("time.sleep", lambda _: None)  # between tries of huggingface_hub
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve_hub() as running:
        address = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        yield running


@pytest.fixture(scope="module")
def model(tiny_run, tiny_selector, tmp_path_factory):
    """A run folder with a contrastive network in it, and with what a run leaves besides."""
    folder = tmp_path_factory.mktemp("models") / "run"
    shutil.copytree(tiny_run, folder)
    shutil.copytree(tiny_selector, folder / "selector")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def published(hub, model):
    files = {p.relative_to(model).as_posix(): p.read_bytes() for p in model.rglob("*") if p.is_file()}
    hub.commit("me/galaxies", files | {"pytorch_model.bin": b"\x80pickle", "model.py": b"print('code')"})
    return hub


NAMES = ["README.md", "config.json", "model.safetensors"]
ALL = sorted([*NAMES, *(f"selector/{name}" for name in NAMES)])


def test_there_and_back(hub, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    name = publish_model(model, "me/galaxies")
    repo, _, commit = name.partition("@")
    assert repo == "me/galaxies" and len(commit) == 40
    files = hub.repos[repo][commit]
    assert sorted(files) == ALL
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: pix2spec\n") and "pix2spec.load('me/galaxies')" in card
    loaded = pix2spec.load(name, device="cpu")
    own = pix2spec.load(model, device="cpu")
    assert loaded.ids == own.ids | {"model_source": name}
    galaxy = tiny_galaxy(0)
    a, b = (g.generate(galaxy, n=2, steps=2, seed=3) for g in (loaded, own))
    assert (a.candidates == b.candidates).all() and a.provenance["model_source"] == name


def test_main_is_resolved_to_its_commit(published):
    first = fetch_model("me/galaxies")
    commit = next(iter(published.repos["me/galaxies"]))
    assert source_of(first) == {"model_source": f"me/galaxies@{commit}"}
    second_commit = published.commit("me/galaxies", {"README.md": b"# better\n"})
    second = fetch_model("me/galaxies")
    assert source_of(second)["model_source"] == f"me/galaxies@{second_commit}"
    assert (second / "README.md").read_text() == "# better\n" and second != first
    assert fetch_model(f"me/galaxies@{commit}") == first


def test_nothing_else_is_fetched(published):
    folder = fetch_model("me/galaxies")
    assert sorted(published.fetched) == ALL
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == ALL


def test_a_commit_that_is_here_needs_no_network(published):
    commit = next(iter(published.repos["me/galaxies"]))
    folder = fetch_model(f"me/galaxies@{commit}")
    assert fetch_model(f"me/galaxies@{commit}", endpoint=NOWHERE) == folder
    with pytest.raises(InputError, match="the download failed"):
        fetch_model("me/galaxies", endpoint=NOWHERE)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_wrong_hash_is_found_and_not_kept(published, file):
    published.faults[file] = "wrong"
    with pytest.raises(InputError, match=f"{file} has the hash .*the download was damaged"):
        fetch_model("me/galaxies")
    commit = next(iter(published.repos["me/galaxies"]))
    with pytest.raises(InputError, match="has the hash"):
        fetch_model(f"me/galaxies@{commit}")
    published.faults.clear()
    pix2spec.load("me/galaxies", device="cpu")


def test_truncated_files_are_refused_and_cut_connections_resumed(published):
    published.faults["model.safetensors"] = "short"
    with pytest.raises(InputError, match=r"the download failed: .*size.*/model\.safetensors"):
        fetch_model("me/galaxies")
    published.faults["model.safetensors"] = "cut"
    folder = fetch_model("me/galaxies")
    assert published.fetched.count("model.safetensors") == 3 and (folder / "config.json").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("me/nothing", "no such model here or on the hub"),
        ("me/galaxies@v9", "no such revision"),
        ("me/empty", "not a model of pix2spec"),
    ],
)
def test_what_is_not_there_is_said(published, name, message):
    published.commit("me/empty", {"README.md": b"# nothing\n"})
    with pytest.raises(InputError, match=message):
        pix2spec.load(name)


def test_a_file_that_is_gone(published):
    published.faults["model.safetensors"] = 404
    with pytest.raises(InputError, match=r"the download failed: .*/model\.safetensors"):
        fetch_model("me/galaxies")


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_hub_name("me/model") and is_hub_name("me/model@v1.0") and is_hub_name("me/model@" + "0" * 40)
    for name in ("default", "runs/concat", "./me/model", "/me/model", "../model", "a/b/c", "me/", "me/../x"):
        assert not is_hub_name(name), name
    with pytest.raises(InputError, match="no such model"):
        pix2spec.load("runs/concat")  # a folder that is there: nobody is asked


def test_publishing_needs_a_token(hub, model):
    with pytest.raises(InputError, match=r"the hub did not accept the model.*hf auth login"):
        publish_model(model, "me/galaxies")
    with pytest.raises(InputError, match="leave out the @ and the name after it"):
        publish_model(model, "me/galaxies@v1")
    assert not hub.repos


def test_a_folder_holds_the_model_and_nothing_else(model, tmp_path):
    files = export_model(model, tmp_path / "shared")
    assert sorted(p.relative_to(tmp_path / "shared").as_posix() for p in files) == ALL
    assert (tmp_path / "shared" / "model.safetensors").read_bytes() == (
        model / "model.safetensors"
    ).read_bytes()
    assert pix2spec.load(tmp_path / "shared", device="cpu").ids == pix2spec.load(model, device="cpu").ids
    with pytest.raises(InputError, match="it is there already"):
        export_model(model, tmp_path / "shared")


def test_a_damaged_model_is_not_published(hub, model, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    shutil.copytree(model, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="damaged"):
        publish_model(tmp_path / "run", "me/galaxies")
    with pytest.raises(InputError, match="damaged"):
        export_model(tmp_path / "run", tmp_path / "out")
    assert not hub.repos and [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["run"]


def test_the_command(hub, model, tmp_path, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pix2spec", "export", str(model), *words, "--json"])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, json.loads(capsys.readouterr().out)

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, summary = run("--out", str(tmp_path / "shared"))
    assert code == 0 and summary["model"] == str(tmp_path / "shared") and len(summary["files"]) == 6
    code, summary = run("--hub", "me/galaxies")
    assert code == 0 and summary["model"].startswith("me/galaxies@")
    code, summary = run()
    assert code == 2 and "one of the two" in summary["error"]
