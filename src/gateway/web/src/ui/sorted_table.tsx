import type { ComponentChildren } from "preact";
import { query, setQuery } from "../router.ts";

export interface SortedColumn<T> {
  /** Names it in the address (`?sort=`). */
  id: string;
  title: string;
  numeric?: boolean;
  /** Left out where there is little room. */
  wide?: boolean;
  /** Long words, such as addresses, that may be broken anywhere there. */
  long?: boolean;
  value: (row: T) => string | number | null;
  cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  label: string;
  rows: T[];
  columns: SortedColumn<T>[];
  keyOf: (row: T) => string | number;
}

const collator = new Intl.Collator("en", { numeric: true });

/** A table of some hundred rows at most, sorted by whichever column; the choice is in the address. The first is the usual one. */
export function SortedTable<T>({ label, rows, columns, keyOf }: Props<T>) {
  const usual = columns[0]!;
  const [by, direction] = (query.value.get("sort") ?? usual.id).split(":") as [string, string | undefined];
  const column = columns.find((c) => c.id === by) ?? usual;
  const down = direction === "desc";
  const sign = down ? -1 : 1;
  const sorted = [...rows].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    // What is not there comes last, either way.
    if (x === null || y === null) return x === y ? collator.compare(String(keyOf(a)), String(keyOf(b))) : x === null ? 1 : -1;
    const order = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x), String(y));
    return sign * order || collator.compare(String(keyOf(a)), String(keyOf(b)));
  });
  const sortBy = (next: SortedColumn<T>) => {
    // Numbers are asked for from the greatest, names from the first.
    const nextDown = column.id === next.id ? !down : (next.numeric ?? false);
    setQuery({ sort: next.id === usual.id && !nextDown ? null : `${next.id}${nextDown ? ":desc" : ""}` }, "push");
  };
  return (
    <div class="wide-box" role="region" aria-label={label} tabIndex={0}>
      <table class="data-table sorted-table">
        <thead>
          <tr>
            {columns.map((c) => (
              <th
                key={c.id}
                scope="col"
                class={`${c.numeric ? "num" : ""} ${c.wide ? "wide-only" : ""}`}
                aria-sort={c === column ? (down ? "descending" : "ascending") : undefined}
              >
                <button type="button" class="sort" onClick={() => sortBy(c)}>
                  {c.title}
                  <span aria-hidden="true">{c === column ? (down ? " ↓" : " ↑") : ""}</span>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((c) => (
                <td key={c.id} class={`${c.numeric ? "num" : ""} ${c.wide ? "wide-only" : ""} ${c.long ? "long" : ""}`}>
                  {c.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
