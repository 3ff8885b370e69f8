import { zone } from "../preferences.ts";
import { clock, full, toMs, zoneName } from "../time.ts";

/** A moment, in the chosen zone. The date is left out when it is today's. */
export function When({ at, seconds = true }: { at: string | number | null | undefined; seconds?: boolean }) {
  const at_ms = toMs(at);
  if (!Number.isFinite(at_ms)) return <span class="none">–</span>;
  const z = zone.value;
  return (
    <time dateTime={new Date(at_ms).toISOString()} title={`${full(at_ms, z)} ${zoneName(z, at_ms)}`}>
      {clock(at_ms, z, Date.now(), seconds)}
    </time>
  );
}
