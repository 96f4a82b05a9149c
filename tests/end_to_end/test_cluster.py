"""Generation on Ray: the local engine's catalogue, also when a worker is lost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pix2spec.data.dataset import Dataset, write_dataset
from pix2spec.data.schema import DatasetInfo
from pix2spec.data.simulate import SimulatedSurvey
from pix2spec.errors import InputError
from pix2spec.generate.catalogue import generate_catalogue
from pix2spec.generate.engines import Engine
from pix2spec.generate.load import load
from pix2spec.models.generator import Settings
from pix2spec.products import shards
from pix2spec.products.catalogue import open_catalogue

N = 40


class Losing(Engine):
    """Ray, whose first worker to finish a shard is killed."""

    def run(self, maker, missing):
        import psutil

        made = super().run(maker, missing)
        first = next(made)
        actors = [p for p in psutil.process_iter(["name"]) if p.info["name"].startswith("ray::_Worker")]
        assert len(actors) == 2
        actors[0].kill()
        yield first
        yield from made


def rows(out):
    return open_catalogue(out).read(open_catalogue(out).schema.names).to_pydict()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_with_a_worker_killed_makes_the_local_catalogue(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(shards, "SHARD", 4)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or other tests' processes come first
    bare = {"image": None, "photometry": None, "photometry_ivar": None}
    pairs = [replace(pair, truth={}) for pair in SimulatedSurvey(seed=5).galaxies(N)]
    pairs[9] = replace(pairs[9], **bare)  # nothing is known of it: it fails
    write_dataset(tmp_path / "galaxies", pairs, DatasetInfo())
    galaxies, generator = Dataset(tmp_path / "galaxies"), load()
    settings, options = Settings(n=2, select="all", steps=2), {"batch": 4, "progress": False}
    summary = generate_catalogue(
        generator, galaxies, tmp_path / "ray", settings, engine=Losing("ray", workers=2), **options
    )
    assert (summary.n_ok, summary.n_failed, summary.n_candidates) == (N - 1, 1, 2)
    assert [pairs[9].object_id] == [name for name, _ in summary.failures]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers have
    generate_catalogue(generator, galaxies, tmp_path / "local", settings, **options)
    torch.set_num_threads(threads)
    one, other = rows(tmp_path / "local"), rows(tmp_path / "ray")
    assert one.pop("object_id") == other.pop("object_id") == [pair.object_id for pair in pairs]
    np.testing.assert_equal(one, other)  # to the bit
    assert [p.name for p in (tmp_path / "ray").iterdir()] == ["catalog.parquet"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "dask"}, "'dask' is unknown.*local or ray"),
        ({"workers": 2}, "no workers.*ray has"),
        ({"name": "ray", "workers": 0}, "0 workers"),
    ],
)
def test_engines_that_do_not_exist(words, message):
    with pytest.raises(InputError, match=message):
        Engine(**words)
