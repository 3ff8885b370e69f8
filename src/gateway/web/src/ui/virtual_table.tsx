import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface Column<T> {
  /** Names it in the address (`?sort=`) and to the style sheet. */
  id: string;
  title: string;
  numeric?: boolean;
  sortable?: boolean;
  cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  keyOf: (row: T) => string;
  /** Each row leads somewhere: its first cell is a link that covers it. */
  hrefOf: (row: T) => string;
  sort: { by: string; down: boolean };
  onSort: (by: string) => void;
  /** Names the grid of columns in the style sheet. */
  class: string;
}

/** Rows beyond the visible ones that are drawn on each side, so that scrolling shows no gap. */
const SPARE = 10;
/** The drawn rows change by this many at once: not every pixel of a scroll is worth a rendering. */
const STEP = 5;

/** A table that draws only what is seen: ten thousand rows cost as much as thirty. Arrow keys walk through it. */
export function VirtualTable<T>({ label, rows, columns, keyOf, hrefOf, sort, onSort, class: name }: Props<T>) {
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600, row: 34 });
  const wantFocus = useRef<number | null>(null);

  useLayoutEffect(() => {
    const node = scroller.current!;
    const measure = () => {
      const row = parseFloat(getComputedStyle(node).getPropertyValue("--row-height")) || 34;
      setView({ top: node.scrollTop, height: node.clientHeight, row });
    };
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(node);
    return () => watcher.disconnect();
  }, []);

  const step = Math.floor(view.top / view.row / STEP) * STEP;
  const first = Math.max(0, step - SPARE);
  const last = Math.min(rows.length, step + STEP + Math.ceil(view.height / view.row) + SPARE);
  // A row that was drawn is drawn again as the same object, which Preact passes over at once.
  const drawn = useMemo(() => new Map<number, ComponentChildren>(), [rows, columns, first >> 8]);
  const draw = (row: T, index: number) => {
    let made = drawn.get(index);
    if (!made) {
      made = <Row key={keyOf(row)} row={row} index={index} columns={columns} href={hrefOf(row)} />;
      drawn.set(index, made);
    }
    return made;
  };
  const onScroll = (top: number) => {
    if (Math.floor(top / view.row / STEP) * STEP !== step) setView({ ...view, top });
  };

  useEffect(() => {
    if (wantFocus.current == null) return;
    const link = scroller.current!.querySelector<HTMLElement>(`[data-row="${wantFocus.current}"] a`);
    if (!link) return;
    wantFocus.current = null;
    link.focus({ preventScroll: true });
  });

  const go = (index: number) => {
    const node = scroller.current!;
    const to = Math.max(0, Math.min(rows.length - 1, index));
    wantFocus.current = to;
    const y = to * view.row;
    if (y < node.scrollTop) node.scrollTop = y;
    else if (y + view.row > node.scrollTop + node.clientHeight) node.scrollTop = y + view.row - node.clientHeight;
    // A focused row that is scrolled away is no longer drawn; its table keeps the focus until the new row is.
    const link = node.querySelector<HTMLElement>(`[data-row="${to}"] a`);
    (link ?? node).focus({ preventScroll: true });
    setView({ ...view, top: node.scrollTop });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const focused = (event.target as HTMLElement).closest<HTMLElement>("[data-row]")?.dataset["row"];
    const here = focused === undefined ? -1 : Number(focused);
    const page = Math.max(1, Math.floor(view.height / view.row) - 1);
    const to = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + page,
      PageUp: here - page,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (to === undefined || !rows.length) return;
    event.preventDefault();
    go(to);
  };

  return (
    <div class={`vtable ${name}`} role="table" aria-label={label} aria-rowcount={rows.length + 1}>
      <div role="rowgroup" class="vtable-head">
        <div role="row" class="vrow" aria-rowindex={1}>
          {columns.map((column) => {
            const sorted = sort.by === column.id;
            return (
              <div
                key={column.id}
                role="columnheader"
                data-col={column.id}
                class={column.numeric ? "num" : ""}
                aria-sort={sorted ? (sort.down ? "descending" : "ascending") : undefined}
              >
                {column.sortable === false ? (
                  column.title
                ) : (
                  <button type="button" class="sort" onClick={() => onSort(column.id)}>
                    {column.title}
                    <span aria-hidden="true">{sorted ? (sort.down ? " ↓" : " ↑") : ""}</span>
                  </button>
                )}
              </div>
            );
          })}
        </div>
      </div>
      <div
        ref={scroller}
        role="rowgroup"
        class="vtable-body"
        tabIndex={0}
        aria-label={`${label}, rows`}
        onScroll={(event) => onScroll(event.currentTarget.scrollTop)}
        onKeyDown={onKeyDown}
      >
        <div role="presentation" style={{ blockSize: `${rows.length * view.row}px`, position: "relative" }}>
          <div role="presentation" style={{ transform: `translateY(${first * view.row}px)` }}>
            {rows.slice(first, last).map((row, i) => draw(row, first + i))}
          </div>
        </div>
      </div>
    </div>
  );
}

interface RowProps<T> {
  row: T;
  index: number;
  columns: Column<T>[];
  href: string;
}

function Row<T>({ row, index, columns, href }: RowProps<T>) {
  return (
    <div role="row" class="vrow" aria-rowindex={index + 2} data-row={index}>
      {columns.map((column, c) => (
        <div key={column.id} role="cell" data-col={column.id} class={column.numeric ? "num" : ""}>
          {c === 0 ? (
            <a class="cover" href={href}>
              {column.cell(row)}
            </a>
          ) : (
            column.cell(row)
          )}
        </div>
      ))}
    </div>
  );
}
