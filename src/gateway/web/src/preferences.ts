import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
export type Zone = "utc" | "local";

function stored<T extends string>(key: string, allowed: readonly T[], fallback: T) {
  const text = localStorage.getItem(key) as T | null;
  const value = signal<T>(text && allowed.includes(text) ? text : fallback);
  effect(() => {
    if (value.value === fallback) localStorage.removeItem(key);
    else localStorage.setItem(key, value.value);
  });
  return value;
}

export const theme = stored<Theme>("tidecast.theme", ["system", "light", "dark"], "system");
/** Streams cross borders and daylight saving; UTC unless the operator asks otherwise. */
export const zone = stored<Zone>("tidecast.zone", ["utc", "local"], "utc");

const systemDark = matchMedia("(prefers-color-scheme: dark)");
/** What is on screen now, for the canvases, which read no style sheet. */
export const dark = signal(systemDark.matches);

effect(() => {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = theme.value;
  dark.value = theme.value === "system" ? systemDark.matches : theme.value === "dark";
});
systemDark.addEventListener("change", () => {
  if (theme.value === "system") dark.value = systemDark.matches;
});
