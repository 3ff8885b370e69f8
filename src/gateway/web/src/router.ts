import { computed, signal } from "@preact/signals";

/** Where the page is. The address bar is the only place this is kept, so every view can be linked to. */
const here = signal({ path: location.pathname, search: location.search });

export const path = computed(() => here.value.path);
export const query = computed(() => new URLSearchParams(here.value.search));

function read() {
  here.value = { path: location.pathname, search: location.search };
}

addEventListener("popstate", read);

/** Something on this page was typed and is not saved. */
export const unsaved = signal(false);

/** Goes to `address`, a path with or without a query. */
export function navigate(address: string, how: "push" | "replace" = "push"): void {
  const leaves = new URL(address, location.href).pathname !== here.value.path || address.split("?")[0] !== here.value.path;
  if (unsaved.value && leaves && !confirm("What you have changed here is not saved. Leave all the same?")) return;
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  const moved = location.pathname !== here.value.path;
  read();
  if (moved && how === "push") scrollTo(0, 0);
}

/** Changes parts of the query; `null` or an empty text removes one. Typing replaces, choosing adds to the history. */
export function setQuery(changes: Record<string, string | null>, how: "push" | "replace"): void {
  const next = new URLSearchParams(here.value.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const text = next.toString();
  if (`?${text}` === here.value.search || (!text && !here.value.search)) return;
  navigate(here.value.path + (text ? `?${text}` : ""), how);
}

/** Ordinary links stay ordinary: opening in a new tab, copying and the middle button keep working. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) {
    return;
  }
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!isPage(link.pathname) || (link.pathname === location.pathname && link.hash)) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
});

/** Paths that are ours; `/docs`, `/metrics` and the like are the server's. */
function isPage(pathname: string): boolean {
  return pathname === "/" || /^\/(models|alerts|rules|dlq|kafka|pipeline|sessions|audit)(\/|$)/.test(pathname);
}

/** A name as it stands in a path; one that is badly encoded stands for itself. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Address of a model's page; ids hold slashes (`departures/JFK`), so they travel encoded. */
export function modelPath(id: string): string {
  return `/models/${encodeURIComponent(id)}`;
}

/** Address of a topic's page. */
export function topicPath(name: string): string {
  return `/kafka/${encodeURIComponent(name)}`;
}

/** Address of a rule's editor. */
export function rulePath(name: string): string {
  return `/rules/${encodeURIComponent(name)}`;
}
