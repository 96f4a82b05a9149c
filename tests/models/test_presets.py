import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2spec.errors import InputError
from pix2spec.models.presets import load_preset, preset_names, validate_preset


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_and_survive_their_own_dump(name):
    preset = load_preset(name)
    assert preset.name == name
    assert validate_preset(preset.model_dump(mode="json")) == preset


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1e-3", "did you mean 'lr'"),
        ("denoiser.widht=8", "did you mean 'width'"),
        ("trian.lr=1e-3", "did you mean 'train'"),
        ("train.lr=-1", "greater than 0"),
        ("diffusion.timestep=3", r"unknown key 'diffusion\.timestep' \(did you mean 'timesteps'"),
        ("diffusion.timesteps=0", r"diffusion\.timesteps: "),
        ("train.steps=many", "train.steps"),
        ("denoiser.width=12", "multiple of 8"),
        ("encoder.arch=vit", "encoder.arch"),
        ("train.lr", "section.key=value"),
        ("name.x=1", "not a section"),
    ],
)
def test_bad_overrides_say_what_is_wrong(override, message):
    with pytest.raises(InputError, match=message):
        load_preset("paper-concat-small", [override])


def test_overrides_take_scientific_notation_and_lists():
    preset = load_preset("paper-concat", ["train.lr=2e-4", "denoiser.multipliers=[1,2]", "train.steps=7"])
    assert preset.train.lr == 2e-4 and preset.denoiser.multipliers == (1, 2) and preset.train.steps == 7


def test_unknown_presets_suggest_the_nearest():
    with pytest.raises(InputError, match="did you mean 'paper-xattn'"):
        load_preset("paper-xatn")


def test_preset_files(tmp_path):
    path = tmp_path / "mine.yaml"
    with pytest.raises(InputError, match="no such preset file"):
        load_preset(path)
    path.write_text("task: diffusion\nname: mine\nabout: x\ndenoiser: {conditioning: concat}\n")
    with pytest.raises(InputError, match="train: Field required"):
        load_preset(path)
    path.write_text("task: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_preset(path)
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(InputError, match="not valid YAML"):
        load_preset(path)
    path.write_text("task: juggling\n")
    with pytest.raises(InputError, match="diffusion"):
        load_preset(path)


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none(), max_size=4))
def test_any_mapping_is_valid_or_an_input_error(values):
    with pytest.raises(InputError):
        validate_preset(values)
