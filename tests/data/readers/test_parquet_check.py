"""Parquet that would end the process is refused; the process and its worker go on."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pix2spec.data.readers import parquet_check
from pix2spec.data.readers.parquet_check import check_parquet
from pix2spec.errors import InputError
from robustness.corpus.parquet import predictions_whose_footer_would_end_the_process as deadly


def good_file(folder):
    pq.write_table(pa.table({"a": [[1, 2], []], "b": [None, "x"]}), folder / "good\n.parquet")
    return folder / "good\n.parquet"


def test_good_files_pass_before_and_after_one_that_ends_the_worker(tmp_path):
    good, bad = good_file(tmp_path), deadly(tmp_path)
    check_parquet(good)
    first = parquet_check._workers[os.getpid()].pid
    check_parquet(good)
    assert parquet_check._workers[os.getpid()].pid == first
    for _ in range(2):
        with pytest.raises(InputError, match=r"rows\.parquet: its footer is damaged: reading it ends"):
            check_parquet(bad)
        check_parquet(good)


def test_the_file_is_deadly_without_the_check(tmp_path):
    code = "import sys, pyarrow.parquet as pq; pq.ParquetFile(sys.argv[1]).metadata.row_group(0).column(1)"
    ran = subprocess.run([sys.executable, "-c", code, deadly(tmp_path)], capture_output=True)
    assert ran.returncode == -signal.SIGABRT


def test_threads_get_the_answers_to_their_own_files(tmp_path):
    good, bad = good_file(tmp_path), deadly(tmp_path)

    def is_refused(path):
        try:
            check_parquet(path)
        except InputError:
            return True
        return False

    paths = [good, good, bad] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_refused, paths)) == [path == bad for path in paths]


def test_an_interrupted_check_leaves_no_answer_for_the_next_file(tmp_path, monkeypatch):
    good = good_file(tmp_path)
    check_parquet(good)

    def interrupted(text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parquet_check.json, "loads", interrupted)
        check_parquet(tmp_path / "none")
    check_parquet(good)


def test_no_worker_outlives_its_process(tmp_path):
    code = (
        "import sys, os; from pix2spec.data.readers import parquet_check as c; c.check_parquet(sys.argv[1]);"
        "print(c._workers[os.getpid()].pid)"
    )
    ran = subprocess.run([sys.executable, "-c", code, good_file(tmp_path)], capture_output=True, text=True)
    assert ran.stderr == "" and not os.path.exists(f"/proc/{int(ran.stdout)}")
