"""Snapshots of several files, by the lists of their files alone.

"Any order, repetition and batching of the same arrivals give the same table." (the design)
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_spark.markers import names_of
from tidegate_spark.strategies.snapshot_folders import Folder, Piece, complete_folders


def _file(name: str, version: int = 1, problem: str | None = None, folder: str = "landing/day=1") -> Piece:
    return Piece(f"{folder}/{name}", f"{version:040x}", "2026-01-01T00:00:00Z", problem=problem)


def _marker(*names: str, version: int = 1, folder: str = "landing/day=1", problem: str | None = None) -> Piece:
    return Piece(
        f"{folder}/_SUCCESS", f"{version:040x}", "2026-01-01T00:01:00Z", is_marker=True, names=names, problem=problem
    )


def _shown(folders: list[Folder]) -> list[list[tuple[str, int]]]:
    return [[(member.name, int(member.sequencer, 16)) for member in folder.members] for folder in folders]


def test_a_folder_is_complete_with_its_marker_and_some_file() -> None:
    # GIVEN files without a marker, a marker without files, and both
    assert complete_folders([_file("a"), _file("b")], by_list=False) == []
    assert complete_folders([_marker()], by_list=False) == []
    # THEN the folder is what its files' newest versions are
    pieces = [_file("a", 1), _file("a", 3), _file("b", 2), _marker(), _file("c", folder="landing/day=2")]
    assert _shown(complete_folders(pieces, by_list=False)) == [[("a", 3), ("b", 2)]]


def test_a_bad_file_holds_its_folder_back_until_a_good_version_comes() -> None:
    # GIVEN a file that can't be read
    pieces = [_file("a"), _file("b", 1, problem="row 3"), _marker()]
    assert complete_folders(pieces, by_list=False) == []
    # WHEN it is sent again THEN the folder is complete; a bad version of a good file counts as none
    assert _shown(complete_folders([*pieces, _file("b", 2)], by_list=False)) == [[("a", 1), ("b", 2)]]
    assert _shown(complete_folders([_file("a"), _file("a", 2, problem="row 3"), _marker()], by_list=False)) == [
        [("a", 1)]
    ]


def test_a_list_says_which_files_make_up_the_snapshot() -> None:
    # GIVEN a list of two files, one of which is missing; what isn't listed is no part of it
    pieces = [_marker("a", "b"), _file("a"), _file("x", problem="no part of it")]
    assert complete_folders(pieces, by_list=True) == []
    assert _shown(complete_folders([*pieces, _file("b")], by_list=True)) == [[("a", 1), ("b", 1)]]
    # AND a later list is another snapshot; a bad one is none
    longer = [*pieces, _file("b"), _marker("a", version=2), _marker(version=3, problem="lists no file")]
    assert _shown(complete_folders(longer, by_list=True)) == [[("a", 1), ("b", 1)], [("a", 1)]]


def test_the_content_of_a_snapshot_changes_with_its_files() -> None:
    one = complete_folders([_file("a"), _marker()], by_list=False)[0]
    two = complete_folders([_file("a"), _file("b"), _marker()], by_list=False)[0]
    assert len({one.content, two.content}) == 2


_PIECES = st.lists(
    st.one_of(
        st.builds(_file, st.sampled_from("abc"), st.integers(1, 2), folder=st.sampled_from(["l/1", "l/2"])),
        st.builds(
            lambda names, version, folder: _marker(*names, version=version, folder=folder),
            st.sets(st.sampled_from("abc"), min_size=1),
            st.integers(1, 2),
            st.sampled_from(["l/1", "l/2"]),
        ),
    ),
    unique_by=lambda piece: piece.version,
)


@settings(max_examples=200, deadline=None)
@given(_PIECES, st.booleans())
def test_any_order_of_good_pieces_makes_the_same_snapshots_and_each_stays(pieces: list[Piece], by_list: bool) -> None:
    # GIVEN all of them, in two orders
    def contents(some: list[Piece]) -> set[tuple[str, str, str]]:
        return {(*folder.marker.version, folder.content) for folder in complete_folders(some, by_list=by_list)}

    assert contents(pieces) == contents(list(reversed(pieces)))
    # THEN a snapshot that is complete with some of them is complete with all
    some = {folder.marker.version for folder in complete_folders(pieces[: len(pieces) // 2], by_list=by_list)}
    assert some <= {folder.marker.version for folder in complete_folders(pieces, by_list=by_list)}


def test_a_list_may_name_files_by_their_keys_or_uris() -> None:
    text = "\ufeffa.csv\r\n\n  b.csv  \ns3://landing/day=1/c.csv\na.csv\n"
    assert names_of(text) == ("a.csv", "b.csv", "c.csv")
