import { setQuery } from "../router.ts";

interface PagerProps {
  /** Where the page that is shown begins; empty: with the newest. */
  cursor: string;
  /** Where the next one begins, if there is one. */
  next: string | null | undefined;
  /** The word on the button that leads there. [Older] */
  older?: string;
  /** What else of the address a step back changes. */
  changes?: Record<string, string | null>;
}

/** Further back, and to the newest again. The cursor is in the address, so that a page can be shared. */
export function Pager({ cursor, next, older = "Older", changes = {} }: PagerProps) {
  if (!next && !cursor) return null;
  return (
    <div class="pager">
      {cursor && (
        <button type="button" onClick={() => setQuery({ cursor: null }, "push")}>
          Newest
        </button>
      )}
      {next && (
        <button type="button" onClick={() => (setQuery({ ...changes, cursor: next }, "push"), scrollTo(0, 0))}>
          {older}
        </button>
      )}
    </div>
  );
}
