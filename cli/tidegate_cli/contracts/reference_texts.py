"""What the reference page says in its own words, around what is made from the model."""

HEAD = """\
# The contract

<!-- Made by `tidegate tables reference --out docs/contract-reference.md`; a test keeps it up to date. -->

One YAML file a table, in `tables/`. `tidegate tables check` says what is wrong with it, by file and line, and
what to write instead; `sam build` compiles it and fails on a wrong one.

```yaml
table: orders
landing: orders/{day}/*.csv      # below the landing bucket
format: {type: csv}
columns:
  day: date                      # from the path
  order_id: string
  amount: decimal(12,2)
  updated_at: timestamp
merge:
  strategy: upsert
  keys: [day, order_id]
  sequence_by: updated_at
partition_by: [day]
freshness: 15m
```

An editor that knows YAML schemas completes and checks contracts with what `tidegate tables schema` prints.
"""

TRANSFORM = """\
## Transforms

`transform` is what happens between landing and merge: one SELECT from the view `arrivals`, which has the columns
that files and paths give.

```yaml
columns: {order_id: bigint, name: string, amount: "decimal(12,2)", day: date}
reads: {name: string, cents: bigint, ordered_at: string, test: boolean}
transform: |
  SELECT upper(trim(name)) AS name,
         cents / 100 AS amount,
         to_date(ordered_at, 'dd.MM.yyyy') AS day
  FROM arrivals
  WHERE NOT coalesce(test, false)
```

- **What is read.** Files and paths bring the columns of `columns` that the transform doesn't make, and all of
  `reads`. A column that is made of itself, such as `upper(name) AS name`, is named in `reads` as well. A column of
  `reads` that nothing uses is read and dropped: so a file may have it.
- **What comes out.** Each item has the name of a column, and is cast to its type; a value that doesn't fit is that
  row's problem. A column that the SELECT doesn't name, or that `*` stands for, stays as it arrives.
- **WHERE** leaves rows out before the merge, and before expectations. `delete_when` is told on the columns that
  arrive, before the transform.
- **A row by itself.** Joins, subqueries, aggregates, windows, DISTINCT, LIMIT and generators are refused, and so is
  whatever gives something else each time, such as `rand()` or `current_timestamp`: a batch that is done again must
  give the same rows. What needs other rows belongs in a follow-up.
- **In a file.** `transform: orders.sql` takes the SELECT from that file beside the contract. Findings name its lines.

Functions that may be called: {functions}.
"""

EXPECTATIONS = """\
Expectations are told on the table's columns, after the transform. Changes that delete are not checked. The same
functions may be called as in a transform. How many rows failed which one is in the receipt.

```yaml
expectations:
  - {name: amount_is_positive, check: "amount > 0", on_fail: quarantine}
  - {name: has_a_name, check: "name IS NOT NULL", on_fail: warn}
```
"""

EVOLUTION = """\
## Changing a contract

`tidegate tables check --against deployed` compares the contracts in `tables/` with those of the stack (or of a
folder, or of a file that `tidegate tables compile` wrote) and says what each change does to its table. It ends with
exit code 1 if one is refused, 0 if all can be deployed, 2 if there is nothing to compare with, and 3 or 4 if the
stack can't be reached or read.

| change | |
| --- | --- |
| a new table; freshness, quiet hours, batch, maintenance, tombstones | goes |
| readers, expectations, evolution, change data feed | goes |
| a new column | under `evolution: add_columns` or `widen`; rows that are there have null in it |
| naming a column that files brought under `add_columns` | as `string`, which it is in the table |
| a wider type | under `evolution: widen`; not for keys, `sequence_by`, periods and `partition_by` |
| `transform`, `delete_when`, `ignore_null_updates`, format, landing | goes, for what lands or is merged from now on |
| a column less, another name, a type that is not wider | refused |
| strategy, keys, `sequence_by`, `partial_updates`, `track_columns`, periods, snapshot, `partition_by` | refused |

Wider are: `tinyint` → `smallint` → `int` → `bigint`; `float` → `double`; a whole number → a decimal that holds all
of its digits; a decimal → one with no fewer digits before and after the point. `date` → `timestamp` is not: which
moment a day is depends on a time zone.

What is refused is done with a new table: write the contract under another table name, deploy, and land the files
again, for example by copying them onto themselves:
`aws s3 cp --recursive --metadata-directive REPLACE s3://<landing>/orders/ s3://<landing>/orders/`. Without
`sequence_by` the order of changes is that of landing, so land them in that order.
"""

RULES = """\
## Landing patterns

- `*` stands for any characters but `/`, also for none. `{name}` stands for at least one. There is no `**`: a
  pattern has as many parts as the keys that it matches.
- The first part is a folder without `*` or `{name}`. A `{name}` doesn't touch a `*` or another `{name}`.
- A capture that is also a column fills it for every row of the file, and the file itself must not have that
  column. The others are not kept.
- No key may match two contracts: `tidegate tables check` refuses such a pair and names a key that would.
- Folder markers (names that end in `/`), empty files and keys without a contract are recorded as ignored.

## Column types

Spark SQL's:
{simple},
`decimal(p,s)`, `array<type>`, `map<type,type>` and `struct<name:type,...>`. CSV holds none of the last three,
and no `binary`.

Names are letters, digits and `_`; two that differ by case alone are refused, and so are those that begin with
`_tidegate`, the column in which each row keeps where it came from. Two columns are filled by Tidegate where a
contract names them: `_source_file: string`, the file's `s3://` URI, and `_arrived_at: timestamp`. A transform,
`delete_when` and expectations may name them anyway.

## Freshness

| written | means |
| --- | --- |
| `asap` | whenever something lands and no run is going on |
| `15m`, `2h`, `1d` | at most this long after it has landed; from `1m` to `31d` |
| `by 06:00 Europe/Berlin` | what has landed before that time of day is queryable by then |

## What a merge may skip

A merge reads only those files of the table that may hold a key of its batch. It tells by `keys` alone: a
partition column that is not among them can't help, because the row of a key may have moved to another folder.
`tidegate tables check` warns of that.
"""
