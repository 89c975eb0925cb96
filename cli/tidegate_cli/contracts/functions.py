"""Spark 3.5's functions, by whether a transform or a check may call them.

What comes out for a row must depend on that row alone, and be the same whenever the row is read again: a batch is
done again after a crash, and a file may come in another batch with other rows. A test compares this list with the
functions that Spark itself has.
"""

from __future__ import annotations

_ALLOWED = {
    "string": """
        ascii base64 bit_length btrim char char_length character_length chr concat_ws contains decode elt encode
        endswith find_in_set format_number format_string initcap instr lcase left len length levenshtein locate
        lower lpad ltrim luhn_check mask octet_length overlay position printf regexp_count regexp_extract
        regexp_extract_all regexp_instr regexp_replace regexp_substr repeat replace right rpad rtrim sentences
        soundex space split split_part startswith substr substring substring_index to_binary to_char to_number
        to_varchar translate trim try_to_binary try_to_number ucase unbase64 upper
    """,
    "math": """
        abs acos acosh asin asinh atan atan2 atanh bin bround cbrt ceil ceiling conv cos cosh cot csc degrees
        div e exp expm1 factorial floor greatest hex hypot least ln log log10 log1p log2 mod negative pi pmod
        positive pow power radians rint round sec shiftleft sign signum sin sinh sqrt tan tanh try_add
        try_divide try_multiply try_subtract unhex width_bucket
    """,
    "datetime": """
        add_months convert_timezone date_add date_diff date_format date_from_unix_date date_part date_sub
        date_trunc dateadd datediff datepart day dayofmonth dayofweek dayofyear extract from_unixtime
        from_utc_timestamp hour last_day make_date make_dt_interval make_interval make_timestamp
        make_timestamp_ltz make_timestamp_ntz make_ym_interval minute month months_between next_day quarter
        second timestamp_micros timestamp_millis timestamp_seconds to_date to_timestamp to_timestamp_ltz
        to_timestamp_ntz to_unix_timestamp to_utc_timestamp trunc try_to_timestamp unix_date unix_micros
        unix_millis unix_seconds unix_timestamp weekday weekofyear year
    """,
    "conditional": """
        coalesce if ifnull nanvl nullif nvl nvl2
    """,
    "predicate": """
        isnan isnotnull isnull regexp_like
    """,
    "conversion": """
        bigint binary boolean cast date decimal double float int smallint string timestamp tinyint
    """,
    "array": """
        array array_append array_compact array_contains array_distinct array_except array_insert array_intersect
        array_join array_max array_min array_position array_prepend array_remove array_repeat array_union
        arrays_overlap arrays_zip flatten get sequence slice sort_array
    """,
    "map": """
        element_at map map_concat map_contains_key map_entries map_from_arrays map_from_entries map_keys
        map_values str_to_map try_element_at
    """,
    "struct": """
        named_struct struct
    """,
    "lambda": """
        aggregate array_sort exists filter forall map_filter map_zip_with reduce transform transform_keys
        transform_values zip_with
    """,
    "collection": """
        array_size cardinality concat reverse size
    """,
    "bitwise": """
        bit_count bit_get getbit shiftright shiftrightunsigned
    """,
    "hash": """
        crc32 hash md5 sha sha1 sha2 xxhash64
    """,
    "json": """
        from_json get_json_object json_array_length json_object_keys schema_of_json to_json
    """,
    "csv": """
        from_csv schema_of_csv to_csv
    """,
    "xml": """
        xpath xpath_boolean xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short xpath_string
    """,
    "url": """
        parse_url url_decode url_encode
    """,
    "misc": """
        aes_decrypt equal_null try_aes_decrypt
    """,
}
SYNTAX = frozenset({"try_cast", "timestampadd", "timestampdiff", "varchar"})
"""What Spark's grammar writes like functions."""
ALLOWED = frozenset(name for names in _ALLOWED.values() for name in names.split()) | SYNTAX
"""Row-local and the same each time."""

_AGGREGATES = """
    any any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor bitmap_construct_agg
    bitmap_or_agg bool_and bool_or collect_list collect_set corr count count_if count_min_sketch covar_pop
    covar_samp every first first_value grouping grouping_id histogram_numeric hll_sketch_agg hll_union hll_union_agg
    kurtosis last last_value max max_by mean median min min_by mode percentile percentile_approx regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy skewness some std stddev stddev_pop
    stddev_samp sum try_avg try_sum var_pop var_samp variance
"""
_WINDOWS = """
    cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number session_window window window_time
"""
_GENERATORS = """
    explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer stack
"""
_CHANGING = """
    aes_encrypt curdate current_catalog current_database current_date current_schema current_time current_timestamp
    current_timezone current_user input_file_block_length input_file_block_start input_file_name localtime
    localtimestamp monotonically_increasing_id now rand randn random session_user shuffle spark_partition_id user
    uuid version
"""
_OTHERS = "assert_true java_method raise_error reflect try_reflect"
_SKETCHES = "bitmap_bit_position bitmap_bucket_number bitmap_count hll_sketch_estimate typeof"
_REASONS = {
    _AGGREGATES: "looks at many rows; do that in a follow-up, after the merge",
    _WINDOWS: "looks at other rows; do that in a follow-up, after the merge",
    _GENERATORS: "makes several rows of one; do that in a follow-up, after the merge",
    _CHANGING: (
        "gives something else each time, and a batch that is done again must give the same rows; for the time of an"
        " arrival name the column _arrived_at, for its file _source_file"
    ),
    _OTHERS: "may end the merge, or run any code; use an expectation with on_fail: fail",
    _SKETCHES: "has no use for a row by itself; remove it",
}

FORBIDDEN: dict[str, str] = {name: why for names, why in _REASONS.items() for name in names.split()}
"""Functions that Spark has and a contract may not call, and why."""

WITHOUT_PARENTHESES = frozenset(
    {
        *("current_date", "current_timestamp", "current_user", "user", "session_user", "localtimestamp"),
        *("current_time", "current_catalog"),
    }
)
"""Those of them that are called by their name alone, where no column has it."""
