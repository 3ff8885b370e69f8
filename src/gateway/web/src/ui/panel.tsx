import type { ComponentChildren } from "preact";
import type { Problem } from "../api.ts";
import * as format from "../format.ts";
import { now } from "./now.ts";

export interface PanelProps {
  title: string;
  /** Stands beside the title: a count, a unit, a hint. */
  note?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
  /** Level of the heading. [2] */
  level?: 2 | 3;
}

/** A titled part of a page. */
export function Panel({ title, note, actions, children, class: name = "", level = 2 }: PanelProps) {
  const Heading = level === 2 ? "h2" : "h3";
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return (
    <section class={`panel ${name}`} aria-labelledby={id}>
      <header class="panel-head">
        <Heading id={id}>{title}</Heading>
        {note != null && <span class="note">{note}</span>}
        {actions && <div class="panel-actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}

/** Nothing here, and what would bring something. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="state">{children}</p>;
}

/** Still on its way. The bars keep the place, so that nothing jumps when it comes. */
export function Loading({ rows = 3 }: { rows?: number }) {
  return (
    <div class="state loading" role="status">
      <span class="sr-only">Loading</span>
      {Array.from({ length: rows }, (_, i) => (
        <span key={i} class="bar" style={{ inlineSize: `${88 - ((i * 23) % 50)}%` }} />
      ))}
    </div>
  );
}

/** It failed, and can be tried again; or has been read (`word`). */
export function Failed({ error, retry, word = "Try again" }: { error: Problem; retry: () => void; word?: string }) {
  return (
    <div class="state failed" role="alert">
      <strong>{error.title}</strong>
      {error.detail && error.detail !== error.title ? <span>{error.detail}</span> : null}
      <button type="button" onClick={retry}>
        {word}
      </button>
    </div>
  );
}

interface LoadedProps<T> {
  of: {
    data: { value: T | undefined };
    error: { value: Problem | undefined };
    updated_ms: { value: number };
    refresh: () => void;
  };
  rows?: number;
  children: (data: T) => ComponentChildren;
}

/** Shows a resource in whichever state it is: loading, failed, there, or there but no longer fresh. */
export function Loaded<T>({ of, rows, children }: LoadedProps<T>) {
  const data = of.data.value;
  const error = of.error.value;
  if (data === undefined) return error ? <Failed error={error} retry={of.refresh} /> : <Loading rows={rows ?? 3} />;
  return (
    <>
      {error && (
        <p class="stale" role="status">
          {error.title}: showing what was known {format.seconds(Math.max(0, now.value - of.updated_ms.value) / 1000)} ago.
        </p>
      )}
      {children(data)}
    </>
  );
}

interface ForbiddenProps {
  of: { error: { value: Problem | undefined } };
  /** What may not be seen, as the subject of a sentence. */
  what: string;
  children: ComponentChildren;
}

/** Says so where the reader's token may not see something: trying again would not help. */
export function Forbidden({ of, what, children }: ForbiddenProps) {
  if (of.error.value?.status !== 403) return <>{children}</>;
  return (
    <p class="state" role="status">
      {what} is for administrators, and the token that you have logged in with has no such role. Ask whoever gave it to you, or log in with
      another.
    </p>
  );
}
