import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as format from "./format.ts";
import { streamState } from "./live/by_type.ts";
import { connection, retryNow, skipped, unavailable, updatesPerSecond, version } from "./live/hub.ts";
import { statsError } from "./live/stats.ts";
import { type Theme, theme, zone } from "./preferences.ts";
import { path } from "./router.ts";
import { bearer, logOut, loginWanted, token } from "./session.ts";
import { now } from "./ui/now.ts";
import { zoneName } from "./time.ts";

/** Whether `/api/kafka/**` answers here: null while unknown. */
const kafkaThere = signal<boolean | null>(null);

const PAGES = [
  ["/", "Overview"],
  ["/models", "Models"],
  ["/alerts", "Alerts"],
  ["/rules", "Rules"],
  ["/dlq", "Dead letters"],
] as const;
/** How the machine itself is doing; `/kafka` stands before these, where there is one. */
const BEHIND = [
  ["/pipeline", "Pipeline"],
  ["/sessions", "Sessions"],
  ["/audit", "Audit"],
] as const;

export function Header() {
  useEffect(() => {
    if (kafkaThere.value !== null) return;
    const headers: Record<string, string> = token.value ? { authorization: `Bearer ${token.value}` } : {};
    fetch("/api/kafka/health", { headers }).then(
      (response) => (kafkaThere.value = isJson(response) && response.status !== 404),
      () => (kafkaThere.value = null),
    );
  }, [token.value]);
  const kafka = kafkaThere.value ? [["/kafka", "Kafka"] as const] : [];
  const pages = [...PAGES, ...kafka, ...BEHIND];
  return (
    <header class="top">
      <a class="brand" href="/" title={version.value && `Tidecast ${version.value}`}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M3 18c4.3 0 4.3-9 8.7-9s4.3 13 8.6 13S24.700 14 29 14" />
        </svg>
        Tidecast
      </a>
      <nav aria-label="Pages">
        {pages.map(([href, name]) => (
          <a key={href} href={href} aria-current={isHere(href) ? "page" : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <div class="top-tools">
        <LiveLight />
        <ZoneSwitch />
        <ThemeSwitch />
        {token.value && (
          <button type="button" class="tool" onClick={logOut} title={bearer(token.value) ?? undefined}>
            Log out
          </button>
        )}
      </div>
    </header>
  );
}

function isJson(response: Response): boolean {
  return (response.headers.get("content-type") ?? "").includes("json");
}

function isHere(href: string): boolean {
  const here = path.value;
  return href === "/" ? here === "/" : here === href || here.startsWith(`${href}/`);
}

/** Whether what is on screen is the present. */
function LiveLight() {
  if (loginWanted.value !== null) return null;
  const state = connection.value;
  const gaps = skipped.value ? ` ${format.plural(skipped.value, "update")} skipped to keep up.` : "";
  if (statsError.value && statsError.value.status !== 401) {
    return <Light kind="bad" text="No answer" title={statsError.value.message} />;
  }
  if (unavailable.value) return <Light kind="wait" text="Polling" title={unavailable.value} />;
  switch (state.kind) {
    case "open": {
      const rate = `${format.rate(updatesPerSecond.value)} updates/s.`;
      const stream = streamState.value === "open" || streamState.value === "refused" ? "" : " The metrics stream is reconnecting.";
      return <Light kind={stream ? "wait" : "good"} text="Live" title={`${rate}${stream}${gaps}`} />;
    }
    case "waiting": {
      const left = Math.max(0, Math.ceil((state.retry_at_ms - now.value) / 1000));
      return (
        <>
          <Light kind="wait" text={`Reconnecting${left ? ` in ${left} s` : "…"}`} title={`Close code ${state.code}.${gaps}`} />
          <button type="button" class="tool" onClick={retryNow}>
            Now
          </button>
        </>
      );
    }
    case "refused":
      return <Light kind="bad" text="Refused" title={state.reason || `Close code ${state.code}`} />;
    default:
      return <Light kind="wait" text="Connecting…" title="" />;
  }
}

function Light({ kind, text, title }: { kind: "good" | "wait" | "bad"; text: string; title: string }) {
  return (
    <span class={`light light-${kind}`} role="status" title={title}>
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

function ZoneSwitch() {
  const utc = zone.value === "utc";
  return (
    <button
      type="button"
      class="tool"
      onClick={() => (zone.value = utc ? "local" : "utc")}
      aria-label={`Times are in ${utc ? "UTC" : "local time"}. Change to ${utc ? "local time" : "UTC"}`}
      title={utc ? "Change to local time" : "Change to UTC"}
    >
      {zoneName(zone.value, now.value)}
    </button>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function ThemeSwitch() {
  const is = theme.value;
  return (
    <button
      type="button"
      class="tool tool-icon"
      onClick={() => (theme.value = NEXT[is])}
      aria-label={`Colours: ${is === "system" ? "as the system" : is}. Change to ${NEXT[is] === "system" ? "as the system" : NEXT[is]}`}
      title={`Colours: ${is === "system" ? "as the system" : is}`}
    >
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {is === "light" && (
          <>
            <circle cx="8" cy="8" r="3" fill="currentColor" />
            <path d="M8 .8v2M8 13.200v2M.8 8h2M13.200 8h2M2.900 2.900l1.400 1.400M11.700 11.700l1.400 1.400M2.900 13.100l1.400-1.400M11.700 4.300l1.400-1.400" />
          </>
        )}
        {is === "dark" && <path d="M13.500 10.200A6 6 0 0 1 5.800 2.500a6 6 0 1 0 7.700 7.700z" fill="currentColor" />}
        {is === "system" && (
          <>
            <circle cx="8" cy="8" r="6" />
            <path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" stroke="none" />
          </>
        )}
      </svg>
    </button>
  );
}
