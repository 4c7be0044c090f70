"""Whether a result can be written is asked before the work."""

import os
from pathlib import Path

import pytest

from sycophancy_core.errors import DataError
from sycophancy_core.runs.outputs import check_output_file, check_output_folder, require_installed, require_room


def test_places_that_can_be_written_are_not_made_by_asking(tmp_path: Path) -> None:
    check_output_file(tmp_path / "new/a.parquet")
    check_output_folder(tmp_path / "new/run")
    check_output_file(Path("/dev/null"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below/it"):
        with pytest.raises(DataError, match=r"wanted a folder at .*file, got a file; choose another name"):
            check_output_folder(tmp_path / name)
    with pytest.raises(DataError, match=r"wanted a folder at .*file, got a file"):
        check_output_file(tmp_path / "file/a.parquet")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wanted a place for a file, but a folder is there; choose another name"):
        check_output_file(tmp_path)


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("not there")
    with pytest.raises(DataError, match="wanted a folder, got a link to 'not there', which is not there"):
        check_output_folder(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    with pytest.raises(DataError, match=r"closed without permission"):
        check_output_folder(tmp_path / "closed/run")


def test_a_disk_without_room_is_refused(tmp_path: Path) -> None:
    require_room(tmp_path / "new", 1, "the results")
    with pytest.raises(DataError, match=r"new: the results need about 1,000,000\.00 GB, but .* GB are free; make room"):
        require_room(tmp_path / "new", 10**15, "the results")


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    require_installed("numpy", extra="report", what="evaluate")
    with pytest.raises(DataError, match=r"no_such_one, which is not installed; run: pip install 'sycophancy-core.repo"):
        require_installed("no_such_one", extra="report", what="evaluate")
