"""Table 1 and Figure 2 end to end on tiny data, with tiny networks."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from pix2spec.data.dataset import Dataset
from pix2spec.errors import InputError
from pix2spec.evaluation.metrics.pixels import mean_squared_error, to_minmax
from pix2spec.generate.load import load
from pix2spec.paper.compare import table1
from pix2spec.paper.figure import figure2
from pix2spec.paper.rows import ROWS, parse_rows
from pix2spec.paper.work import read_scores
from support.tiny import GRID, TINY, write_tiny_survey

UNET = ("denoiser.width=8", "denoiser.multipliers=[1,1,1,2]", "diffusion.timesteps=20", "train.steps=6")
NETS = {
    "concat": (*TINY, *UNET),
    "xattn": (*TINY, *UNET),
    "photometry": (*TINY[1:], "encoder.channels=[8,8]", *UNET),
    "contrastive": (
        *TINY,
        "contrastive.spectrum_channels=[8,8,8,8]",
        "contrastive.kernel=5",
        "contrastive.latent=8",
        "train.steps=6",
    ),
    "wu-peek": (
        *TINY[1:],
        "autoencoder.hidden=[16,8]",
        "autoencoder.latent=2",
        "network.stem=[8,8,8]",
        "network.channels=[8,8,8,8]",
        "network.groups=4",
        "train.steps=6",
    ),
}
SETTINGS = [f"{row}.{value}" for row, values in NETS.items() for value in values]
MOST_ROWS = ",".join(row for row in ROWS if row not in ("ulisse", "xattn"))


def settings_of(rows):
    return [s for s in SETTINGS if s.partition(".")[0] in (*rows.split(","), "contrastive")]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    return write_tiny_survey(tmp_path_factory.mktemp("reproduce") / "data", 260, grid=GRID)


def run(survey, out, rows, **options):
    options = {"seeds": 2, "progress": False, "settings": settings_of(rows)} | options
    return table1(survey, out, rows=rows, **options)


def minmax_mse_of(galaxy, spectrum):
    good = (galaxy.ivar > 0) * galaxy.ivar
    return mean_squared_error(spectrum, to_minmax(galaxy.flux, good), good)


@pytest.fixture(scope="module")
def comparison(survey, tmp_path_factory):
    """All rows but one whose network has to be fetched, and xattn; the shipped model knows another grid."""
    return run(survey, tmp_path_factory.mktemp("table"), MOST_ROWS)


@pytest.mark.slow
def test_every_row_is_in_the_table(comparison):
    assert [name for name, _ in comparison.failures] == ["score default-seed0", "score default-seed1"]
    assert "its wavelength grid differs" in comparison.failures[0][1]
    assert list(dict.fromkeys(line.row for line in comparison.lines)) == [
        row for row in ROWS if row not in ("ulisse", "xattn", "contrastive", "default")
    ]
    lines = {(line.row, line.selection): line for line in comparison.lines}
    selections = {selection for name, selection in lines if name == "concat"}
    assert selections == {"single", "best_of_5", "best", "mean_best_5", "mean_all"}
    assert {selection for name, selection in lines if name == "photometry"} == {"single", "mean_all"}
    single = lines["concat", "single"]
    assert single.seeds == 2 and single.values["minmax_mse"][1] > 0 and single.paper == (0.179, 0.017)
    assert single.parameters > 1000 and single.hours >= 0 and single.seconds > 0
    assert lines["mean-spectrum", "single"].seeds == 1
    assert "crps_median" in lines["concat", "mean_all"].values
    assert "crps_median" not in single.values
    clean = lines["noise-free", "single"].values
    mean = load(comparison.plan.out / "runs" / "mean-spectrum-seed0").model.minmax_spectrum.numpy()
    truth = [
        minmax_mse_of(galaxy, mean)
        for galaxy in Dataset(comparison.plan.test, "test")
        if galaxy.flux is not None
    ]
    assert lines["mean-spectrum", "single"].values["minmax_mse"][0] == pytest.approx(np.mean(truth), rel=1e-5)
    assert clean["affine_matched_mse"][0] < lines["neighbours-25", "mean_all"].values["affine_matched_mse"][0]


@pytest.mark.slow
def test_formats_parse_and_name_their_origin(comparison):
    out = comparison.plan.out
    text = (out / "table1.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and len(table) == 2 + len(comparison.lines)
    assert "0.179 ± 0.017" in text and "version: `" in text and "simulated galaxies" in text
    tex = (out / "table1.tex").read_text()
    body = [line for line in tex.splitlines() if line.endswith(r" \\")]
    assert len(body) == 1 + len(comparison.lines) and {line.count(" & ") for line in body} == {9}
    assert not re.search(r"(?<!\\)[_#]", "\n".join(line for line in tex.splitlines() if line[0] != "%"))
    rows = pq.read_table(out / "table1.parquet")
    facts = json.loads(rows.schema.metadata[b"pix2spec"])
    assert facts["command"].startswith("pix2spec") and facts["retrieval"][0]["pool"]["size"] > 0
    found = {(r["row"], r["selection"]): r for r in rows.to_pylist()}
    assert found["wu-peek", "single"]["paper_mse"] == 0.08
    assert found["concat", "best"]["minmax_mse"] == next(
        line.values["minmax_mse"][0]
        for line in comparison.lines
        if (line.row, line.selection) == ("concat", "best")
    )


@pytest.mark.slow
def test_a_second_call_does_nothing_twice(comparison, survey, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in comparison.plan.out.rglob("*seed*.parquet")}
    monkeypatch.setattr("pix2spec.training.loop.train", None)
    again = run(survey, comparison.plan.out, MOST_ROWS, progress=True)
    assert again.failures == comparison.failures
    assert [line.values for line in again.lines] == [line.values for line in comparison.lines]
    assert before == {path: path.stat().st_mtime_ns for path in comparison.plan.out.rglob("*seed*.parquet")}
    printed = capsys.readouterr()
    assert "contrastive + mean (25/5)" in printed.out and "2 of 2 trained, 2 of 2 scored" in printed.err
    more = run(survey, comparison.plan.out, "concat", dry_run=True, seeds=3)
    assert set(more.missing) == {"train concat-seed2", "train contrastive-seed2", "score concat-seed2"}


@pytest.mark.slow
def test_scores_are_those_of_evaluate(comparison, survey, tmp_path):
    from pix2spec.data.dataset import Dataset
    from pix2spec.evaluation.compare import evaluate
    from pix2spec.generate.catalogue import generate_catalogue
    from pix2spec.generate.load import load
    from pix2spec.models.generator import Settings

    out = comparison.plan.out
    generator = load(out / "runs/concat-seed1", out / "runs/contrastive-seed1")
    settings = Settings(n=25, seed=1, sampler="dpm++", steps=6)
    test = Dataset(survey, "test")
    generate_catalogue(generator, test, tmp_path / "made", settings, progress=False)
    methods = evaluate(tmp_path / "made", test, progress=False)["methods"]
    columns, facts = read_scores(out / "scores/concat-seed1.parquet")
    for name, values in columns.items():
        if "." in name:
            method, metric = name.split(".")
            assert values.mean() == pytest.approx(methods[method][metric]["mean"], rel=1e-4), name
    assert facts["selector"].startswith("paper-contrastive-mini@") and facts["seed"] == 1


@pytest.mark.slow
def test_figure_has_five_columns_and_says_what_is_missing(comparison, tmp_path):
    paths = figure2(comparison.plan.out, objects=3)
    assert [path.name for path in paths] == ["figure2.png", "figure2.pdf"]
    assert all(path.stat().st_size > 20_000 for path in paths)
    with pytest.raises(InputError, match="no finished run of concat with seed 9"):
        figure2(comparison.plan.out, row="concat", seed=9)
    with pytest.raises(InputError, match="no comparison there"):
        figure2(tmp_path)


class Stop(BaseException):
    """As a kill would."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["training", "scoring", "merging", "writing"])
def test_killed_at_any_stage_it_goes_on_to_the_same_table(comparison, survey, tmp_path, monkeypatch, stage):
    import pix2spec.paper.compare as compare
    import pix2spec.paper.work as work
    import pix2spec.training.loop as training

    count = iter(range(99))

    def stop_at(call, original):
        def wrapped(*args, **kwargs):
            if next(count) == call:
                raise Stop
            return original(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(work, "CHUNK", 5)
    with monkeypatch.context() as patch:
        if stage == "training":  # after the first of two checkpoints
            patch.setattr(training, "save_checkpoint", stop_at(1, training.save_checkpoint))
        elif stage == "scoring":
            patch.setattr(work, "score_ensembles", stop_at(1, work.score_ensembles))
        elif stage == "merging":
            patch.setattr(work.pa, "concat_tables", stop_at(0, work.pa.concat_tables))
        else:
            patch.setattr(compare, "write_table", stop_at(0, compare.write_table))
        with pytest.raises(Stop):
            run(survey, tmp_path, "photometry", seeds=1)
    assert not (tmp_path / "table1.md").exists()
    if stage == "scoring":
        assert [p.name for p in (tmp_path / "scores/photometry-seed0").iterdir()] == [
            "0000000-0000005.parquet"
        ]
    assert run(survey, tmp_path, "photometry", seeds=1).failures == []
    resumed, whole = (
        read_scores(out / "scores/photometry-seed0.parquet")[0] for out in (tmp_path, comparison.plan.out)
    )
    assert resumed.keys() == whole.keys()
    for name in whole:
        if "." in name:
            np.testing.assert_allclose(resumed[name], whole[name], rtol=1e-5)


def test_a_failing_row_is_reported_and_the_rest_completes(survey, tmp_path, monkeypatch):
    import pix2spec.paper.work as work

    original = work.train_row

    def fail(job, progress=False):
        if job.row.name == "contrastive":
            raise RuntimeError("out of luck")
        original(job, progress)

    monkeypatch.setattr("pix2spec.paper.compare.train_row", fail)
    result = run(survey, tmp_path, "concat,mean-spectrum", seeds=1)
    assert result.failures == [
        ("train contrastive-seed0", "RuntimeError: out of luck"),
        ("score concat-seed0", "it needs: train contrastive-seed0, which failed"),
    ]
    assert [line.row for line in result.lines] == ["mean-spectrum"]
    assert "Failed: train contrastive-seed0" in (tmp_path / "table1.md").read_text()


@pytest.mark.slow
def test_a_run_with_other_settings_is_refused(comparison, survey):
    settings = [*settings_of("concat"), "concat.train.lr=0.5"]
    result = run(survey, comparison.plan.out, "concat", settings=settings)
    assert "the run in this folder has other settings" in result.failures[0][1]


def command(survey, out, rows, *words):
    """`pix2spec reproduce table1` as words for a process of its own."""
    settings = [part for s in settings_of(rows) for part in ("--set", s)]
    words = ["reproduce", "table1", survey, "--out", out, "--rows", rows, *settings, *words]
    return [sys.executable, "-c", "from pix2spec.apps.cli.main import main; main()", *map(str, words)]


@pytest.mark.parametrize("seed", [0, 1])
def test_one_seed_is_done_alone_and_writes_no_table(survey, tmp_path, seed):
    result = run(survey, tmp_path, "mean-spectrum,pca-mlp", seed=seed)
    done = {"pca-mlp-seed1"} if seed else {"mean-spectrum-seed0", "pca-mlp-seed0"}
    assert {path.stem for path in (tmp_path / "scores").iterdir()} == done
    assert result.failures == [] and result.lines == []
    assert not (tmp_path / "table1.md").exists()
    with pytest.raises(InputError, match="`seed`: 2 is none of the 2 seeds"):
        run(survey, tmp_path, "mean-spectrum", seed=2)


@pytest.mark.slow
def test_processes_share_a_folder_and_a_last_call_gathers(survey, tmp_path, comparison, monkeypatch):
    """Both need the contrastive network of seed 0: one trains it, the other waits."""
    own = f"own={comparison.plan.out / 'runs/concat-seed0'}"
    calls = [("concat,contrastive", "--seed", 0), (f"xattn,{own}", "--seed", 0)]
    processes = [subprocess.Popen(command(survey, tmp_path, *call), stderr=subprocess.PIPE) for call in calls]
    errors = [process.communicate(timeout=400)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    log = (tmp_path / "runs/contrastive-seed0/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in log if "train" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 6
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*seed*.parquet")}
    assert len(before) == 4 and not (tmp_path / "table1.md").exists()
    monkeypatch.setattr("pix2spec.training.loop.train", None)
    result = run(survey, tmp_path, f"concat,xattn,contrastive,{own}", seeds=1)
    assert result.failures == [] and {line.row for line in result.lines} == {"concat", "xattn", "own"}
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*seed*.parquet")}


@pytest.mark.slow
def test_real_processes_that_are_killed_leave_work_that_is_continued(survey, tmp_path, monkeypatch):
    """SIGTERM, as a batch system sends it, then SIGKILL, as want of memory does; then the rest."""
    monkeypatch.setenv("PIX2SPEC_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "table"
    words = ["--seeds", 1]
    for key, value in (("validate_every", 600), ("steps", 600), ("checkpoint_every", 20)):
        words += ["--set", f"photometry.train.{key}={value}"]
    words = command(survey, out, "photometry,wu-peek", *words)
    checkpoint = out / "runs/photometry-seed0/checkpoint.safetensors"
    for number in (signal.SIGTERM, signal.SIGKILL):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(
            lambda before=before: checkpoint.exists() and checkpoint.stat().st_mtime_ns > before, process
        )
        process.send_signal(number)
        _, printed = process.communicate(timeout=120)
        assert process.returncode != 0 and "Traceback" not in printed, printed
    done = subprocess.run(words, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    log = (out / "runs/photometry-seed0/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in log if "train" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 600
    table = pq.read_table(out / "table1.parquet")
    assert set(table["row"].to_pylist()) == {"photometry", "wu-peek"}


def wait_for(condition, process, seconds=300):
    for _ in range(seconds * 10):
        if condition():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.parametrize("command", ["", "table1", "figure2"])
def test_commands_explain_themselves(monkeypatch, capsys, command):
    from pix2spec.apps.cli.main import main

    monkeypatch.setattr("sys.argv", ["pix2spec", "reproduce", *command.split(), "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert not stop.value.code and "Usage" in printed.out and not printed.err


def test_command_line_ends_with_3_when_a_row_fails(survey, tmp_path, monkeypatch, capsys):
    from pix2spec.apps.cli.main import main

    words = ["reproduce", "table1", survey, "--out", tmp_path, "--rows", "mean-spectrum,default"]
    monkeypatch.setattr("sys.argv", ["pix2spec", *map(str, words), "--seeds", "1"])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code == 3 and "failed: score default-seed0: InputError" in printed.err
    assert "mean spectrum" in printed.out and f"{tmp_path}/runs" in printed.out


def test_rows_and_settings_are_checked_before_anything_starts(survey, tmp_path):
    with pytest.raises(InputError, match="'concta' is unknown"):
        parse_rows("concta", "small")
    with pytest.raises(InputError, match="does not begin with a row's name"):
        parse_rows("concat", "small", ["xattn.train.steps=3"])
    with pytest.raises(InputError, match="did you mean 'lr'"):
        parse_rows("concat", "small", ["concat.train.lrr=3"])
    with pytest.raises(InputError, match="paper or small"):
        parse_rows("concat", "large")
    with pytest.raises(InputError, match="did you mean"):
        parse_rows("mine=paper-concta", "small")
    assert [row.name for row in parse_rows("default,concat, mine=paper-concat", "small")] == [
        "concat",
        "default",
        "mine",
    ]
    assert parse_rows("xattn", "paper")[0].preset.denoiser.width == 64
    table1(survey, tmp_path, rows="mean-spectrum", dry_run=True, progress=False)
    with pytest.raises(InputError, match="split"):
        table1(survey, tmp_path, test=survey, rows="mean-spectrum", progress=False)


@pytest.mark.slow
def test_the_papers_scale_asks_before_it_starts_without_a_gpu(survey, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="there is no GPU, and it would take"):
        narrow = ["concat.denoiser.width=8", "concat.encoder.channels=[8,8,8,8]"]
        table1(survey, tmp_path, rows="mean-spectrum,concat", scale="paper", progress=False, settings=narrow)
    assert not (tmp_path / "runs").exists()


def test_expected_time_is_that_of_samples_and_passes(survey, tmp_path, monkeypatch):
    from pix2spec.data.schema import DatasetInfo
    from pix2spec.paper.estimate import expected_seconds
    from pix2spec.paper.work import Job, Plan

    monkeypatch.setattr("pix2spec.paper.estimate.seconds_a_sample", lambda preset, info: 0.5)
    plan, info = Plan(survey, survey, "test", "small", tmp_path), DatasetInfo(grid=GRID)
    settings = ["concat.train.steps=10", "concat.train.batch_size=8"]
    concat, mean, clean = (
        Job(row, 0, plan) for row in parse_rows("concat,mean-spectrum,noise-free", "small", settings)
    )
    assert expected_seconds(concat, info, 0) == 10 * 8 * 0.5
    assert expected_seconds(concat, info, 2) == pytest.approx((10 * 8 + 2 * 25 * 6 / 3) * 0.5)
    assert expected_seconds(mean, info, 2) == expected_seconds(clean, info, 2) == 0
    concat.run.mkdir(parents=True)
    (concat.run / "model.safetensors").touch()
    assert expected_seconds(concat, info, 2) == pytest.approx(2 * 25 * 6 / 3 * 0.5)


@pytest.mark.parametrize("row", NETS)
def test_a_step_of_every_network_is_timed(row):
    from pix2spec.data.schema import DatasetInfo
    from pix2spec.paper.estimate import seconds_a_sample

    settings = [s for s in SETTINGS if s.startswith(f"{row}.")]
    preset = parse_rows(row, "small", settings)[0].preset
    assert 0 < seconds_a_sample(preset, DatasetInfo(grid=GRID)) < 10
