import json
import subprocess
import sys

import pytest

from pix2spec.errors import InputError
from pix2spec.runtime.resumable import Resumable, is_unfinished


@pytest.fixture
def job(tmp_path):
    return Resumable(tmp_path / "job", {"model": "m@1", "objects": 5}, "a table")


def test_a_unit_is_done_when_its_file_exists(job):
    job.claim(resume=False)
    assert job.missing(["a", "b", "c"]) == ["a", "b", "c"]
    job.path("b").touch()
    job.path("c.partial").touch()  # of a kill
    job.claim(resume=True)
    assert job.missing(["a", "b", "c"]) == ["a", "c"]


def test_a_job_is_unfinished_from_claim_to_finish(job):
    assert not is_unfinished(job.folder)
    job.claim(resume=True)  # nothing there is no reason to refuse
    assert is_unfinished(job.folder)
    job.path("a.partial").touch()
    job.finish()
    assert not is_unfinished(job.folder) and [p.name for p in job.folder.iterdir()] == ["run.json"]
    with pytest.raises(InputError, match="it holds a table that is complete"):
        job.claim(resume=True)


def test_a_job_continues_only_if_asked_and_with_its_identity(job):
    job.claim(resume=False)
    with pytest.raises(InputError, match=r"the beginning of a table \(continue with `resume=True`"):
        job.claim(resume=False)
    other = Resumable(job.folder, {"model": "m@2", "objects": 5, "limit": 2}, "a table")
    said = r"other options: limit was None and is 2 now; model was 'm@1' and is 'm@2' now \(use the same"
    with pytest.raises(InputError, match=said):
        other.claim(resume=True)
    assert json.loads(job.path("run.json").read_text())["run"] == {"model": "m@1", "objects": 5}
    Resumable(job.folder, {"objects": 5, "model": "m@1"}).claim(resume=True)


def test_identities_are_compared_as_they_are_stored(tmp_path):
    for _ in range(2):
        Resumable(tmp_path, {"path": tmp_path, "bands": ("g", "r"), "width": 0.1}).claim(resume=True)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"complete": true}', '{"run": 3}', "\x00", "[" * 100_000])
def test_a_damaged_record_is_named(job, text):
    job.folder.mkdir()
    job.path("run.json").write_text(text)
    for use in (lambda: job.claim(resume=True), lambda: is_unfinished(job.folder)):
        with pytest.raises(InputError, match=r"run\.json: it cannot be read as the record of a run"):
            use()


def test_one_process_at_a_time(job):
    code = (
        "import sys; from pix2spec.runtime.resumable import Resumable\n"
        "with Resumable(sys.argv[1], {}).locked(): print('in'); sys.stdout.flush(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, job.folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(InputError, match="another process is at work in this folder"), job.locked():
            pass
        other.kill()  # a lock goes with its process
        other.wait()
    with job.locked():
        done = subprocess.run(command, capture_output=True, text=True, input="", check=False)
        assert done.returncode and "another process is at work" in done.stderr
    assert list(job.folder.iterdir()) == []
