"""What several property tests draw from."""

from hypothesis import strategies as st
from tidegate.run_size import TableWork

GIB = 1024**3

works = st.lists(
    st.builds(
        TableWork,
        table=st.sampled_from("abcde"),
        size_bytes=st.integers(0, 200 * GIB),
        files=st.integers(0, 5000),
        touched_bytes=st.integers(0, 1000 * GIB),
        deadline_in_s=st.one_of(st.none(), st.floats(-1000, 50_000)),
    ),
    min_size=1,
    max_size=5,
)
"""The tables of one run."""
