import type { Subscription, UpdateType } from "./messages.ts";

/** Bytes of names in one message: the gateway closes on one of more than 64 KiB. */
const NAMES_BYTES_MAX = 48 << 10;

/** Who wants what. The gateway's set is by name and type, this one by holder; the last that lets go unsubscribes. */
export class Subscriptions {
  readonly #holders = new Set<Subscription>();

  get isEmpty(): boolean {
    return this.#holders.size === 0;
  }

  add(held: Subscription): void {
    this.#holders.add(held);
  }

  /** Lets go of it, and gives what nobody else holds. */
  remove(held: Subscription): Subscription[] {
    if (!this.#holders.delete(held)) return [];
    const wanted = this.#typesByName();
    const gone = new Map<string, Set<UpdateType>>();
    for (const id of held.model_ids) {
      const types = held.update_types.filter((type) => !wanted.get(id)?.has(type));
      if (types.length) gone.set(id, new Set(types));
    }
    return grouped(gone);
  }

  /** All that is held, in as few messages as can be: one, where the same types are wanted of all names. */
  all(): Subscription[] {
    return grouped(this.#typesByName());
  }

  #typesByName(): Map<string, Set<UpdateType>> {
    const byName = new Map<string, Set<UpdateType>>();
    for (const { model_ids, update_types } of this.#holders) {
      for (const id of model_ids) byName.set(id, new Set([...(byName.get(id) ?? []), ...update_types]));
    }
    return byName;
  }
}

function grouped(byName: Map<string, Set<UpdateType>>): Subscription[] {
  const groups: Subscription[] = [];
  const open = new Map<string, { group: Subscription; bytes: number }>();
  for (const [id, types] of byName) {
    const key = [...types].sort().join();
    // At most three bytes of UTF-8 a unit of a string, and six where JSON escapes it.
    const bytes = 6 * id.length + 3;
    let last = open.get(key);
    if (!last || last.bytes + bytes > NAMES_BYTES_MAX) {
      last = { group: { model_ids: [], update_types: [...types] }, bytes: 0 };
      open.set(key, last);
      groups.push(last.group);
    }
    last.group.model_ids.push(id);
    last.bytes += bytes;
  }
  return groups;
}
